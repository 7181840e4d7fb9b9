"""`icss models` and `icss accept`: what is registered, and which version is the memory."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from services.cli.connection import DEFAULT_URL, Token, Url, connect


def list_models(
    name: Annotated[str | None, typer.Argument(help="one model with its versions; default: all")] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List the models, or the versions of one: parents, classes, aliases."""
    with connect(url, token) as client:
        table = Table()
        if name is None:
            for column in ("model", "versions", "memory", "updated", "classes of the memory"):
                table.add_column(column)
            for model in client.models():
                memory, updated = (str(model.aliases.get(alias, "-")) for alias in ("memory", "updated"))
                table.add_row(model.name, str(model.versions), memory, updated, ", ".join(model.classes))
        else:
            for column in ("version", "parent", "made", "preset", "aliases", "classes"):
                table.add_column(column)
            for version in client.model(name).versions:
                table.add_row(
                    str(version.version),
                    str(version.parent or "-"),
                    version.created.strftime("%Y-%m-%d %H:%M:%S"),
                    version.preset or "-",
                    ", ".join(version.aliases),
                    ", ".join(info.name for info in version.classes),
                )
    Console().print(table)


def accept(
    name: Annotated[str, typer.Argument(help="model")],
    version: Annotated[int, typer.Argument(help="version to become the memory; an older one goes back")],
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a version the memory, to which the next class is added. Accept another to undo it."""
    with connect(url, token) as client:
        moved = client.accept(name, version)
    typer.echo(f"{moved.model}: memory is version {moved.version} now (it was {moved.previous})")
