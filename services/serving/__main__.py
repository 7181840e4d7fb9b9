"""`python -m services.serving`: run the application on the local Ray cluster and leave it there.

With `--stop` it is taken off again; what runs then goes on when it is started the next time.
"""

from __future__ import annotations

import argparse
import sys

from services.serving.deploy import serve_local, stop_serving
from services.settings import load_settings


def main() -> None:
    """Start or stop the application."""
    parser = argparse.ArgumentParser(prog="python -m services.serving", description="The HTTP service.")
    parser.add_argument("--stop", action="store_true", help="take the application off the cluster")
    if parser.parse_args().stop:
        stop_serving()
        return
    address = serve_local(load_settings())
    sys.stdout.write(f"serving on {address}, documentation at {address}/docs\n")


if __name__ == "__main__":
    main()
