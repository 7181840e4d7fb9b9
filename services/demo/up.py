"""`make up`: the services stay, with a memory network to add classes to."""

from __future__ import annotations

import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from services.demo.session import Session
from services.errors import StackError

if TYPE_CHECKING:
    from rich.console import Console

    from services.demo.job import MainJob


def stay_up(job: MainJob, console: Console) -> None:
    """Bring scenes, pretrain (once: a stack started again knows its network), serve, and wait for Ctrl-C.

    Raises:
        StackError: a service died.
    """
    dataset, scenes = job.prepare()
    job.pretrain(dataset, job.model, job.options.old)
    job.serve()
    session = Session(job.client, job.storage, dataset.select(job.names), job.options, job.stages)
    _, clicks = session.save_clicks(scenes[0], session.click(scenes[0]))
    console.print()
    for name, address in job.stack.addresses.items():
        console.print(f"  {name:16} {address}")
    console.print(f"  {'API page':16} {job.stack.addresses['API']}/docs")
    console.print(f"  {'token':16} {job.stack.settings.require_api_token()}")
    console.print(f"  {'MLflow password':16} {job.stack.environment()['ICSS_MLFLOW_TOKEN']}")
    console.print(f"  {'image':16} {scenes[0].address}", soft_wrap=True)
    for title, command in commands(job, scenes[0].address, clicks, pixel=not scenes[0].georeferenced):
        console.print(f"\n[bold]{title}[/]")
        console.print(command, soft_wrap=True, markup=False)
    console.print("\nThe services stay up until Ctrl-C.")
    while True:
        for process in job.stack.processes:
            if not process.running:
                raise StackError(f"{process.name} has died; {process.tail()}")
        time.sleep(1)


def commands(job: MainJob, image: str, clicks: Path, *, pixel: bool) -> list[tuple[str, str]]:
    """What to paste next, each by itself: add a class, predict, look at MLflow."""
    api, token = job.stack.addresses["API"], job.stack.settings.require_api_token()
    icss = f"ICSS_API_URL={api} ICSS_API_TOKEN={token} {shlex.quote(_program('icss'))}"
    model, image, new = (shlex.quote(text) for text in (job.model, image, job.options.new))
    add = f"{icss} add-class {model} {new} --image {image} --clicks {shlex.quote(str(clicks))}"
    out = shlex.quote(str(job.out / "map.tif"))
    return [
        (f"Add the class {job.options.new!r}", add + (" --crs pixel" if pixel else "")),
        ("Predict with it", f"{icss} predict {model} {image} --version updated --output {out}"),
        (
            "Open MLflow: runs, metrics, model versions; it asks for a name (any) and the password above",
            f"{shlex.quote(_program('python'))} -m webbrowser {job.stack.settings.mlflow_uri}",
        ),
    ]


def _program(name: str) -> str:
    """A program of this environment, relative to the working folder if it lies below."""
    path = Path(sys.executable).parent / name
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
