"""The entry point of a mapping job: `ray job submit -- python -m services.mapping ...`."""

from __future__ import annotations

import logging
from typing import Annotated, Any

import ray
import typer
from pydantic import ValidationError

from icss_core.errors import IcssError, InvalidParameterError, faults_of
from icss_core.inference import DEFAULT_TILING
from services.command_options import numbers_by_commas
from services.mapping.job import run_maps
from services.mapping.request import MapRequest
from services.registry import Registry
from services.settings import load_settings


def main(
    model: Annotated[str, typer.Option(help="NAME@VERSION or NAME@ALIAS; an alias means its version now")],
    images: Annotated[
        list[str],
        typer.Option(
            help="s3:// address of an image, a prefix, a dataset.yaml or a .txt of addresses; repeatable"
        ),
    ],
    out: Annotated[str, typer.Option(help="s3:// prefix of the maps")],
    pattern: Annotated[str, typer.Option(help="files of a prefix, such as 'rgb/*.tif'")] = "*",
    confidence: Annotated[bool, typer.Option("--confidence", help="a second band: probability")] = False,
    outlines: Annotated[str | None, typer.Option(help="gpkg or parquet: outlines beside each map")] = None,
    min_area: Annotated[float, typer.Option(help="m2; smaller regions get no outline")] = 0.0,
    bands: Annotated[str, typer.Option(help="1-based, by commas; all but alpha")] = "",
    window: Annotated[int, typer.Option(help="side of the windows, pixels")] = DEFAULT_TILING.window,
    overlap: Annotated[int, typer.Option(help="of neighbouring windows, pixels")] = DEFAULT_TILING.overlap,
    blend: Annotated[str, typer.Option(help="gaussian or constant")] = DEFAULT_TILING.blend,
    workers: Annotated[int, typer.Option(help="processes that predict", min=1)] = 1,
    cpus_per_worker: Annotated[int, typer.Option(help="CPUs of each", min=1)] = 1,
    gpu: Annotated[bool | None, typer.Option(help="one GPU a worker; default: if there are enough")] = None,
    part_pixels: Annotated[
        int | None, typer.Option(help="larger scenes are shared by several workers", min=1)
    ] = None,
) -> None:
    """Map every image of a region with one version; images that have such a map already are passed over."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("rasterio").setLevel(logging.WARNING)  # it tells every fault twice
    name, separator, reference = model.partition("@")
    if not separator or not reference:
        raise typer.BadParameter(f"--model takes NAME@VERSION or NAME@ALIAS, not {model!r}")
    try:
        settings = load_settings()
        asked: dict[str, Any] = {
            "model": name,
            "version": Registry(settings).resolve(name, reference).version,
            "images": tuple(images),
            "pattern": pattern,
            "out": out,
            "bands": numbers_by_commas(bands, option="--bands"),
            "confidence": confidence,
            "outlines": outlines,
            "min_area": min_area,
            "tiling": {"window": window, "overlap": overlap, "blend": blend},
            "workers": workers,
            "cpus_per_worker": cpus_per_worker,
            "gpu": gpu,
        }
        if part_pixels is not None:
            asked["part_pixels"] = part_pixels
        try:
            request = MapRequest.model_validate(asked)
        except ValidationError as error:
            raise InvalidParameterError(faults_of(error, whole="options")) from error
        ray.init()
        result = run_maps(request, settings)
    except IcssError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{result.maps} maps under {request.out}; MLflow run {result.run_id}")
    if result.failures:
        typer.echo(f"{len(result.failures)} images have no map; failures.csv of the run says why", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
