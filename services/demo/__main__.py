"""`python -m services.demo`: the main job on this machine, from nothing to a class added by clicks."""

from __future__ import annotations

import shutil
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from icss_core.errors import DatasetError, IcssError
from icss_core.seed import MAX_SEED
from services.demo.options import DemoOptions
from services.demo.progress import Stages


def main(
    data: Annotated[Path | None, typer.Option(help="folder with real scenes; default: made-up towns")] = None,
    old: Annotated[
        str, typer.Option(help="classes of the memory network, by commas; default: road, and more in towns")
    ] = "",
    new: Annotated[str, typer.Option(help="class to be added by clicks")] = "building",
    out: Annotated[Path, typer.Option(help="folder for pictures, maps and report")] = Path("out"),
    minutes: Annotated[float | None, typer.Option(help="of pretraining")] = None,
    clicks: Annotated[int | None, typer.Option(help="of each of the two classes clicked")] = None,
    images: Annotated[int | None, typer.Option(help="validation images to add the class on")] = None,
    seed: Annotated[int, typer.Option(help="of scenes, weights, clicks and crops", min=0, max=MAX_SEED)] = 0,
    preset: Annotated[str, typer.Option(help="method with its numbers")] = "icss",
    encoder: Annotated[str | None, typer.Option(help="of the networks")] = None,
    iterations: Annotated[int | None, typer.Option(help="of pretraining, at most")] = None,
    batch: Annotated[int, typer.Option(help="crops in an iteration, on each worker")] = 4,
    crop: Annotated[int, typer.Option(help="side of training crops, pixels")] = 256,
    workers: Annotated[int, typer.Option(help="of the pretraining")] = 2,
    update_iterations: Annotated[int | None, typer.Option(help="of the update")] = None,
    scenes: Annotated[int, typer.Option(help="made-up scenes to train on")] = 6,
    size: Annotated[int, typer.Option(help="side of a made-up scene, pixels")] = 768,
    *,
    control: Annotated[bool, typer.Option(help="also train a network on all classes")] = False,
    up: Annotated[bool, typer.Option(help="stay up after the pretraining, for your own clicks")] = False,
) -> None:
    """Scenes into S3, pretraining on Ray Train, a class added by clicks over HTTP, a map, a report."""
    console = Console(highlight=False)
    overrides = {} if update_iterations is None else {"optimisation.iterations": update_iterations}
    options = DemoOptions(
        data=data,
        asked_old=tuple(name.strip() for name in old.split(",") if name.strip()) or None,
        new=new,
        out=out,
        minutes=minutes,
        control=control,
        clicks=clicks,
        images=images,
        seed=seed,
        preset=preset,
        overrides=dict(overrides),
        backbone=encoder,
        iterations=iterations,
        batch=batch,
        crop=crop,
        workers=workers,
        scenes=scenes,
        size=size,
    )
    try:
        _run(options, console, up=up)
    except KeyboardInterrupt:
        console.print("\nstopped; all services are down again")
        raise typer.Exit(130) from None
    except IcssError as error:
        console.print(f"[red]{type(error).__name__}[/]: ", end="")
        console.print(str(error), markup=False, soft_wrap=True)
        if (out / "logs").is_dir():
            console.print(f"the logs of all services are in {out / 'logs'}", soft_wrap=True)
        raise typer.Exit(1) from error


def _run(options: DemoOptions, console: Console, *, up: bool) -> None:
    # heavy: Ray, torch and boto3 are imported once there is something on the screen
    from services.demo.job import MainJob
    from services.demo.report import findings, score_table
    from services.demo.up import stay_up
    from services.local.stack import LocalStack

    if options.data is not None and not options.data.is_dir():
        raise DatasetError(f"there is no folder {options.data}")
    start = time.monotonic()
    stages = Stages(console)
    options.out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as closing:
        if up:
            folder = options.out / "stack"  # kept: started again, it has its models and needs no training
        else:
            folder = Path(closing.enter_context(tempfile.TemporaryDirectory(prefix="icss-demo-")))
        with stages.stage("services", "S3, MLflow and Ray on 127.0.0.1") as stage:
            stage.at(0, None, "starting")
            stack = LocalStack(folder, on_progress=stage.say)
            closing.push(lambda kind, *_: _keep_logs(kind, stack.logs, options.out / "logs"))
            closing.enter_context(stack)
        job = closing.enter_context(MainJob(options, stack, stages))
        if up:
            stay_up(job, console)
            return
        report = job.run()
    console.print()
    console.print(score_table(report))
    for line in findings(report):
        console.print(f"  {line}")
    console.print(f"\nin {options.out}/, after {(time.monotonic() - start) / 60:.1f} minutes in all:")
    for path in sorted(options.out.iterdir()):
        console.print(f"  {path.name}")


def _keep_logs(kind: type[BaseException] | None, logs: Path, kept: Path) -> None:
    """After a failure, keep what the services said."""
    if kind is not None and kind is not KeyboardInterrupt and logs.is_dir():
        shutil.copytree(logs, kept, dirs_exist_ok=True)


if __name__ == "__main__":
    typer.run(main)
