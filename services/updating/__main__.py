"""The entry point of an update job: `ray job submit -- python -m services.updating ...`."""

from __future__ import annotations

import logging
from typing import Annotated, Final

import ray
import typer
from pydantic import ValidationError

from icss_core.errors import IcssError, InvalidParameterError, faults_of
from icss_core.methods import get_preset, written_out
from icss_core.seed import MAX_SEED
from services.command_options import json_object, numbers_by_commas
from services.distinct_colour import distinct_colour
from services.registry import MEMORY, Registry
from services.settings import load_settings
from services.training_progress import RegisteredLine
from services.updating.job import run_update_job
from services.updating.request import UpdateJobRequest

_SCHEME: Final = "s3://"


def main(
    model: Annotated[str, typer.Option(help="NAME, NAME@VERSION or NAME@ALIAS; without, its memory")],
    new_class: Annotated[str, typer.Option(help="name of the class to be added")],
    clicks: Annotated[
        list[str],
        typer.Option(help="IMAGE=POINTS.geojson, both s3://, once for each clicked image"),
    ],
    context: Annotated[
        list[str] | None,
        typer.Option(
            help="images that nobody clicked, where old classes are to hold: s3:// address of one, a prefix, "
            "a dataset.yaml or a .txt of addresses; repeatable"
        ),
    ] = None,
    colour: Annotated[str | None, typer.Option(help="#rrggbb; default: one that stands out")] = None,
    crs: Annotated[
        str | None, typer.Option(help="of the clicks: EPSG:..., or pixel for (column, row); default: lon/lat")
    ] = None,
    bands: Annotated[str, typer.Option(help="1-based, by commas; all but alpha")] = "",
    preset: Annotated[str, typer.Option(help="method with its numbers")] = "icss",
    overrides: Annotated[str, typer.Option(help="changes to the preset, JSON by dotted path")] = "{}",
    workers: Annotated[int, typer.Option(help="data-parallel; 0: this process", min=0)] = 1,
    cpus_per_worker: Annotated[int, typer.Option(help="CPUs of each", min=1)] = 1,
    gpu: Annotated[bool | None, typer.Option(help="one GPU a worker; default: if there are enough")] = None,
    seed: Annotated[int, typer.Option(help="same seed and clicks, same network", min=0, max=MAX_SEED)] = 0,
    checkpoint_every: Annotated[int, typer.Option(help="iterations", min=1)] = 100,
    max_failures: Annotated[int, typer.Option(help="restarts after a worker died", min=0)] = 3,
) -> None:
    """Add a class to a version from clicks on any number of images, on the workers of the cluster."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("rasterio").setLevel(logging.WARNING)  # it tells every fault twice
    name, _, reference = model.partition("@")
    try:
        settings = load_settings()
        base = Registry(settings).resolve(name, reference or MEMORY)
        asked = {
            "model": name,
            "version": base.version,
            "new_class": {
                "name": new_class,
                "colour": colour or distinct_colour(base.card.label_space.colours),
            },
            "clicked": [pair(one) for one in clicks],
            "context": tuple(context or ()),
            "crs": crs,
            "bands": numbers_by_commas(bands, option="--bands"),
            "preset": written_out(get_preset(preset, json_object(overrides, option="--overrides"))),
            "seed": seed,
            "spread": {
                "workers": workers,
                "cpus_per_worker": cpus_per_worker,
                "gpu": gpu,
                "max_failures": max_failures,
                "checkpoint_every": checkpoint_every,
            },
        }
        try:
            request = UpdateJobRequest.model_validate(asked)
        except ValidationError as error:
            raise InvalidParameterError(faults_of(error, whole="options")) from error
        if workers:
            ray.init()
        version = run_update_job(request, settings)
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(RegisteredLine(model=name, version=version).line())


def pair(text: str) -> dict[str, str]:
    """Image and clicks of one `--clicks`.

    Raises:
        typer.BadParameter: it is no pair of addresses.
    """
    image, separator, points = text.rpartition(f"={_SCHEME}")  # keys may have "=" in them
    if not separator or not image:
        raise typer.BadParameter(f"--clicks takes IMAGE=POINTS.geojson, both s3:// addresses, not {text!r}")
    return {"image": image, "clicks": f"{_SCHEME}{points}"}


if __name__ == "__main__":
    typer.run(main)
