"""`icss clean`: deletes what is old and not in use."""

from __future__ import annotations

from typing import Annotated

import typer

from services.settings import load_settings
from services.storage import Storage


def clean(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="only say what would be deleted")] = False,
) -> None:
    """Delete uploads, maps and leftovers of jobs older than ICSS_RETENTION_DAYS, as the service does.

    Needs the ICSS_* settings of the service. Of cached networks it sees those of this machine.
    """
    from services.retention import Retention
    from services.tracking import Tracking

    settings = load_settings()
    retention = Retention(settings, Storage(settings), Tracking(settings))
    leftovers = list(retention.find()) if dry_run else retention.clean()
    for one in leftovers:
        typer.echo(f"{one.where}  ({one.why})")
    typer.echo(f"{len(leftovers)} {'would be' if dry_run else 'were'} deleted")
