"""The entry point of a sweep: `ray job submit ... -- python -m services.tune tune_specs/NAME.yaml ...`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import ray
import typer

from icss_core.errors import IcssError, InvalidParameterError
from services.settings import load_settings
from services.tracking import Tracking
from services.tune.read_spec import read_spec
from services.tune.sweep import run_sweep

_REPOSITORY = Path(__file__).parents[2]
SpecFile = Annotated[
    Path,
    typer.Argument(
        help="such as tune_specs/icss_table1.yaml; looked for in the job's folder, then in the repository"
    ),
]


def main(
    spec: SpecFile,
    dataset: Annotated[
        list[str] | None, typer.Option(help="NAME=s3://.../dataset.yaml, for each data set of the sweep")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="one of the scales in the file, such as smoke")] = None,
) -> None:
    """Run a sweep, or what is left of it; its answer is printed and kept in its MLflow run."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        datasets = dict(_name_and_address(text) for text in dataset or ())
        sweep = read_spec(spec if spec.is_file() else _REPOSITORY / spec, scale)
        settings = load_settings()
        ray.init()
        run_id, failed = run_sweep(sweep, datasets, settings)
        typer.echo(Tracking(settings).read_bytes(run_id, "table.md").decode())
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"sweep {sweep.name} is MLflow run {run_id}")
    if failed:
        typer.echo(f"{len(failed)} trials failed: {'; '.join(failed)}", err=True)
        raise typer.Exit(1)


def _name_and_address(text: str) -> tuple[str, str]:
    name, separator, address = text.partition("=")
    if not separator or not name or not address:
        raise InvalidParameterError(f"--dataset takes NAME=s3://.../dataset.yaml, not {text!r}")
    return name, address


if __name__ == "__main__":
    typer.run(main)
