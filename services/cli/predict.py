"""`icss predict`: the map of an image."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from icss_core.errors import InvalidParameterError
from icss_core.raster.side_files import check_output, description_of, remove_side_files, side_files
from services.cli.connection import DEFAULT_URL, Bands, Token, Url, band_numbers, connect, image_reference


def predict(
    model: Annotated[str, typer.Argument(help="name of the model")],
    image: Annotated[str, typer.Argument(help="s3:// address or local file")],
    version: Annotated[str, typer.Option(help="number, or memory, or updated")] = "memory",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="local file for the result", dir_okay=False)
    ] = None,
    min_area: Annotated[float, typer.Option(help="polygons: leave out those below, m2", min=0)] = 0.0,
    scales: Annotated[
        str | None,
        typer.Option(help="several, as 0.5,1,1.5: highest score of each class; time grows by their squares"),
    ] = None,
    bands: Bands = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    *,
    confidence: Annotated[bool, typer.Option(help="a second band with the confidence")] = False,
    polygons: Annotated[bool, typer.Option(help="GeoJSON polygons instead of a GeoTIFF")] = False,
) -> None:
    """Map every pixel of an image to a class: a cloud-optimised GeoTIFF, or GeoJSON polygons.

    Without --output the result stays in the object store, and its address is printed. Beside a GeoTIFF comes
    NAME.tif.aux.xml with the names of the classes, for QGIS and GDAL.
    """
    if output is not None:
        _check_output(output, image)
    chosen: int | str = int(version) if version.isdecimal() else version
    options: dict[str, Any] = {
        "confidence": confidence,
        "format": "geojson" if polygons else "cog",
        "min_area": min_area,
    }
    if bands is not None:
        options["bands"] = band_numbers(bands)
    if scales is not None:
        options["scales"] = _scales(scales)
    with connect(url, token) as client:
        reference = image_reference(client, image)
        if output is not None:
            _put(client.predict_bytes(model, chosen, reference, **options), output, is_map=not polygons)
            typer.echo(str(output))
            return
        made = client.predict(model, chosen, reference, **options)
    typer.echo(made.href)
    typer.echo(
        f"{made.width} x {made.height} pixels by {made.model} version {made.version} "
        f"in {made.seconds:.1f} s; classes {', '.join(info.name for info in made.classes)}",
        err=True,
    )


def _check_output(output: Path, image: str) -> None:
    """Make sure that the result can be written, before anything is worked out.

    Raises:
        FileNotFoundError: there is no folder for it.
        InvalidParameterError: it would replace the image or what belongs to it; see `check_output`.
    """
    if not output.parent.is_dir():
        raise FileNotFoundError(2, "there is no folder for the result", str(output.parent))
    inputs = [] if "://" in image else [Path(image), *side_files(Path(image))]
    check_output(output, inputs)


def _put(content: bytes, output: Path, *, is_map: bool) -> None:
    """Let a result take its place at once; a map with the names of its classes beside it."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        if is_map:
            from icss_core.raster.class_names import label_space_of, write_description  # with it comes GDAL

            if (label_space := label_space_of(part)) is not None:
                write_description(part, label_space)
            remove_side_files(output)
        part.replace(output)
        if description_of(part).exists():
            description_of(part).replace(description_of(output))
    finally:
        part.unlink(missing_ok=True)
        description_of(part).unlink(missing_ok=True)


def _scales(text: str) -> tuple[float, ...]:
    """The scales between commas.

    Raises:
        InvalidParameterError: something is no number, or no scale.
    """
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidParameterError(f"--scales takes numbers as 0.5,1,1.5, not {text!r}") from error
    from icss_core.inference.scales import check_scales  # with it comes PyTorch, which takes seconds

    return check_scales(numbers)
