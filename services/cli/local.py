"""`icss local`: S3, MLflow and Ray on this machine, for as long as a command runs."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services.errors import StackError

Command = Annotated[list[str] | None, typer.Argument(help="run with the services up; none: until Ctrl-C")]
Folder = Annotated[Path, typer.Option(help="where data, runs and models stay; started again, it has them")]


def local(command: Command = None, folder: Folder = Path("out/stack")) -> None:
    """Start S3, MLflow and Ray on loopback, run a command with their settings, and stop them again.

    `icss local -- icss ingest dubai FOLDER s3://icss/dubai` needs no other set-up. Without a command the
    settings are printed, as a shell takes them, and the services stay until Ctrl-C.
    """
    from services.local.stack import LocalStack

    console = Console(stderr=True, highlight=False)
    with LocalStack(folder, on_progress=console.print) as stack:
        environment = stack.environment()
        if command:
            raise typer.Exit(subprocess.run(command, env=environment, check=False).returncode)
        for name, value in sorted(environment.items()):
            if name.startswith(("ICSS_", "RAY_", "MLFLOW_", "AWS_")):
                typer.echo(f"export {name}={shlex.quote(value)}")
        console.print("the services stay up until Ctrl-C")
        while True:
            for process in stack.processes:
                if not process.running:
                    raise StackError(f"{process.name} has died; {process.tail()}")
            time.sleep(1)
