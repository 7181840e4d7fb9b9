"""`python -m services.serving`: run the application on the local Ray cluster and leave it there.

With `--stop` it is taken off again; what runs then goes on when it is started the next time. With
`--own-cluster` a Ray cluster is started for it, and both stay until this process is told to end.
"""

from __future__ import annotations

import argparse
import sys

from icss_core.errors import IcssError
from services.settings import load_settings


def main() -> None:
    """Start or stop the application."""
    parser = argparse.ArgumentParser(prog="python -m services.serving", description="The HTTP service.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stop", action="store_true", help="take the application off the cluster")
    what.add_argument(
        "--own-cluster", action="store_true", help="start a Ray cluster for it, and stay until SIGTERM"
    )
    arguments = parser.parse_args()
    try:
        _run(stop=arguments.stop, own_cluster=arguments.own_cluster)
    except IcssError as error:
        raise SystemExit(f"{type(error).__name__}: {error}") from error


def _run(*, stop: bool, own_cluster: bool) -> None:
    if own_cluster:
        from services.serving.own_cluster import serve_on_own_cluster

        serve_on_own_cluster(load_settings())
    # not for a process that only watches: importing Ray and PyTorch takes seconds and a gigabyte
    from services.serving.deploy import serve_local, stop_serving

    if stop:
        stop_serving()
        return
    address = serve_local(load_settings())
    sys.stdout.write(f"serving on {address}, documentation at {address}/docs\n")


if __name__ == "__main__":
    main()
