"""`python -m services.serving`: run the application on the local Ray cluster and leave it there."""

from __future__ import annotations

import sys

from services.serving.deploy import serve_local
from services.settings import load_settings


def main() -> None:
    """Start the application; it goes on after this program has ended."""
    address = serve_local(load_settings())
    sys.stdout.write(f"serving on {address}, documentation at {address}/docs\n")


if __name__ == "__main__":
    main()
