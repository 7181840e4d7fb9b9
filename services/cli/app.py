"""The program `icss`: its commands, and how it says that something went wrong."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from icss_core.errors import IcssError
from services.cli.clean import clean
from services.cli.ingest import ingest_app
from services.cli.local import local
from services.cli.map_region import map_region
from services.cli.models import accept, list_models
from services.cli.predict import predict
from services.cli.pretrain import pretrain
from services.cli.teach import teach
from services.cli.updates import add_class, cancel, status


class _Group(TyperGroup):
    """Commands whose expected errors are one message and exit code 1, not a traceback."""

    def invoke(self, ctx: typer.Context) -> Any:  # type: ignore[override]  # typer's own subclass of it
        try:
            return super().invoke(ctx)
        except IcssError as error:
            message = f"{type(error).__name__}: {error}"
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            message = f"{error.strerror}: {error.filename}"
        typer.secho(message, fg="red", err=True)
        raise typer.Exit(1)


app = typer.Typer(
    name="icss",
    cls=_Group,
    help="Teach a segmentation network new classes from a few clicks, without forgetting the old ones.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(ingest_app, name="ingest")
app.command("pretrain", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(pretrain)
app.command("local")(local)
app.command("models")(list_models)
app.command("add-class")(add_class)
app.command("teach")(teach)
app.command("status")(status)
app.command("cancel")(cancel)
app.command("accept")(accept)
app.command("predict")(predict)
app.command("map")(map_region)
app.command("clean")(clean)
