"""`icss models` and `icss accept`: what is registered, and which version is the memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.cli.connection import DEFAULT_URL, Token, Url, connect

if TYPE_CHECKING:
    from services.serving.responses import ModelDetail


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
                classes = Text(", ".join(model.classes))
                table.add_row(model.name, str(model.versions), memory, updated, classes)
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
                    Text(", ".join(info.name for info in version.classes)),
                )
    Console().print(table)


def accept(
    name: Annotated[str, typer.Argument(help="model")],
    version: Annotated[int, typer.Argument(help="version to become the memory; an older one goes back")],
    expected: Annotated[
        int | None,
        typer.Option(
            help="version that is the memory now, as far as you know; default: the version that this one was "
            "made from, or to go back the present memory"
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Make a version the memory, to which the next class is added. Accept another to undo it."""
    with connect(url, token) as client:
        if expected is None:
            expected = expected_memory(client.model(name), version)
        moved = client.accept(name, version, expected=expected)
    typer.echo(f"{moved.model}: memory is version {moved.version} now (it was {moved.previous})")


def expected_memory(model: ModelDetail, version: int) -> int | None:
    """What `memory` should be for a version to replace it without undoing what somebody else accepted.

    Args:
        model: as the service shows it.
        version: what is to become the memory.
    """
    parents = {one.version: one.parent for one in model.versions}
    memory = model.aliases.get("memory")
    ancestor = memory
    while ancestor is not None:
        if ancestor == version:
            return memory  # going back loses what came after, and that is what was asked for
        ancestor = parents.get(ancestor)
    return parents.get(version)
