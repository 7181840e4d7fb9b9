"""The command line: `icss`."""

from services.cli.app import app

__all__ = ["app"]
