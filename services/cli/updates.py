"""`icss add-class`, `icss status`, `icss cancel`: new classes from clicks."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from icss_core.seed import MAX_SEED
from services.cli.connection import DEFAULT_URL, Bands, Token, Url, band_numbers, connect, image_reference
from services.cli.forgetting_table import forgetting_table
from services.cli.update_inputs import override_of, read_clicks

if TYPE_CHECKING:
    from services.client import IcssClient
    from services.serving.responses import UpdateStatus


def add_class(
    model: Annotated[str, typer.Argument(help="name of the model")],
    class_name: Annotated[str, typer.Argument(help="name of the new class")],
    image: Annotated[str, typer.Option(help="image that was clicked on: s3:// address or local file")],
    clicks: Annotated[Path, typer.Option(help="GeoJSON points with the property 'class'", dir_okay=False)],
    crs: Annotated[
        str | None, typer.Option(help="of the clicks: EPSG:..., or pixel for (column, row); default: lon/lat")
    ] = None,
    bands: Bands = None,
    colour: Annotated[str | None, typer.Option(help="#rrggbb; default: one that stands out")] = None,
    base: Annotated[str, typer.Option(help="version or alias to add to")] = "memory",
    preset: Annotated[str | None, typer.Option(help="method with its numbers")] = None,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="change a number: --set optimisation.iterations=50")
    ] = None,
    seed: Annotated[int, typer.Option(help="same seed and clicks, same network", min=0, max=MAX_SEED)] = 0,
    url: Url = DEFAULT_URL,
    token: Token = "",
    *,
    wait: Annotated[bool, typer.Option(help="follow the update to its end")] = True,
) -> None:
    """Add a class to a model from clicks on one image, and show what it cost the old classes."""
    posted = read_clicks(clicks)
    overrides = dict(override_of(change) for change in changes or ())
    with connect(url, token) as client:
        update = client.add_class(
            model,
            class_name,
            image=image_reference(client, image),
            clicks=posted,
            crs=crs,
            bands=band_numbers(bands),
            colour=colour,
            base=int(base) if base.isdecimal() else base,
            preset=preset,
            overrides=overrides,
            seed=seed,
        )
        typer.echo(f"update {update.id} accepted")
        if wait:
            _show(_follow(client, update.id))


def status(
    update_id: Annotated[str | None, typer.Argument(help="default: list the updates, newest first")] = None,
    model: Annotated[str | None, typer.Option(help="list those of one model")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
    *,
    wait: Annotated[bool, typer.Option(help="follow the update to its end")] = False,
) -> None:
    """Show an update, or list them."""
    with connect(url, token) as client:
        if update_id is not None:
            _show(_follow(client, update_id) if wait else client.update(update_id))
            return
        table = Table()
        for column in ("update", "model", "class", "status", "version", "created"):
            table.add_column(column)
        for update in client.updates(model=model, limit=20):
            table.add_row(
                update.id,
                f"{update.model}:{update.base_version}",
                Text(update.new_class.name),
                update.status,
                str(update.result_version or "-"),
                update.created.strftime("%Y-%m-%d %H:%M:%S"),
            )
    Console().print(table)


def cancel(
    update_id: Annotated[str, typer.Argument(help="id of the update")],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Cancel an update; nothing of it is kept."""
    with connect(url, token) as client:
        update = client.cancel(update_id)
    typer.echo(f"update {update.id}: {update.status}")


def _follow(client: IcssClient, update_id: str) -> UpdateStatus:
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("waiting", total=100, note="")

        def show(update: UpdateStatus) -> None:
            loss = "" if update.loss is None else f"loss {update.loss:.3f}"
            left = "" if update.seconds_left is None else f", {update.seconds_left:.0f} s left"
            progress.update(
                task, completed=update.progress, description=update.stage or update.status, note=loss + left
            )

        return client.wait(update_id, on_progress=show)


def _show(update: UpdateStatus) -> None:
    console = Console(highlight=False)
    console.print(f"update {update.id}: {update.status}, {update.message}", markup=False, soft_wrap=True)
    if update.error is not None:
        console.print(f"{update.error.type}: {update.error.message}", markup=False, soft_wrap=True)
    if update.result_version is not None:
        console.print(
            f"{update.model} version {update.result_version} knows {update.new_class.name!r} "
            f"(accept it: icss accept {update.model} {update.result_version})",
            markup=False,
            soft_wrap=True,
        )
    if update.forgetting is not None:
        console.print(forgetting_table(update.forgetting))
    for warning in update.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
