"""What the image says of itself, as the services read it, and that a sweep's file is where README says."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

from services.revision import code_revision
from services.tune.read_spec import read_spec

spec = read_spec(Path("tune_specs/icss_table1.yaml"), "cpu")
revision = code_revision(SimpleNamespace(revision=os.environ["ICSS_REVISION"]))
sys.stdout.write(f"{revision} can run {spec.name}\n")
