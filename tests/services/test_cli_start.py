"""The program `icss` is there at once: what takes seconds to import waits until a command needs it."""

import subprocess
import sys


def test_the_program_starts_without_pytorch_ray_and_mlflow():
    look = "import sys, services.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    assert not {"torch", "timm", "ray", "mlflow", "matplotlib"} & set(done.stdout.split())
