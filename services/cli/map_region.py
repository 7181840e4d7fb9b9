"""`icss map`: maps of a whole region, by a job on the service's cluster."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from services.cli.connection import DEFAULT_URL, Bands, Token, Url, band_numbers, connect
from services.serving.responses import FINISHED

if TYPE_CHECKING:
    from services.client import IcssClient
    from services.serving.responses import MapsStatus

_POLL_SECONDS = 2.0


def map_region(
    model: Annotated[str, typer.Argument(help="name of the model")],
    images: Annotated[
        list[str], typer.Argument(help="s3:// prefixes, images, a dataset.yaml, or a .txt of addresses")
    ],
    version: Annotated[str, typer.Option(help="number, or memory, or updated")] = "memory",
    out: Annotated[str | None, typer.Option(help="s3:// prefix of the maps; default: one of its own")] = None,
    pattern: Annotated[str | None, typer.Option(help="files of a prefix, such as 'rgb/*.tif'")] = None,
    outlines: Annotated[str | None, typer.Option(help="gpkg or parquet: outlines beside each map")] = None,
    min_area: Annotated[float, typer.Option(help="outlines: leave out those below, m2", min=0)] = 0.0,
    bands: Bands = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    *,
    confidence: Annotated[bool, typer.Option(help="a second band with the confidence")] = False,
    wait: Annotated[bool, typer.Option(help="follow the job to its end")] = True,
) -> None:
    """Map every image of a region with one version, each into a cloud-optimised GeoTIFF.

    The same command again goes on where the job was, and maps what has come since.
    """
    options: dict[str, Any] = {"confidence": confidence, "min_area": min_area}
    given = {"out": out, "pattern": pattern, "outlines": outlines}
    options |= {key: value for key, value in given.items() if value is not None}
    if bands is not None:
        options["bands"] = band_numbers(bands)
    chosen: int | str = int(version) if version.isdecimal() else version
    with connect(url, token) as client:
        maps = client.start_maps(model, chosen, images, **options)
        typer.echo(f"mapping job {maps.id} accepted; maps go to {maps.out}")
        if not wait:
            return
        maps = _follow(client, maps.id)
    for name, area in maps.square_kilometres.items():
        typer.echo(f"  {name}: {area:.3f} km2")
    typer.echo(f"{maps.status}: {maps.message}")
    if maps.status != "successful" or maps.failed:
        raise typer.Exit(1)


def _follow(client: IcssClient, maps_id: str) -> MapsStatus:
    with Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeElapsedColumn()
    ) as progress:
        bar = progress.add_task("mapping", total=100, note="")
        while True:
            maps = client.maps(maps_id)
            note = maps.message
            if maps.km2_per_second and maps.seconds_left is not None:
                note = f"{note}; {maps.km2_per_second:.3g} km2/s, {maps.seconds_left:.0f} s left"
            progress.update(bar, completed=maps.progress, note=note)
            if maps.status in FINISHED:
                return maps
            time.sleep(_POLL_SECONDS)
