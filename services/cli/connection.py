"""Where the commands find the service, and which image they mean."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from icss_core.errors import InvalidParameterError
from services.client import IcssClient
from services.errors import ConfigurationError

Url = Annotated[
    str, typer.Option("--url", envvar="ICSS_API_URL", help="address of the service", show_default=True)
]
Token = Annotated[
    str, typer.Option("--token", envvar="ICSS_API_TOKEN", help="its bearer token", show_default=False)
]
DEFAULT_URL = "http://127.0.0.1:8000"


def connect(url: str, token: str) -> IcssClient:
    """A client of the service.

    Raises:
        ConfigurationError: there is no token.
    """
    if not token:
        raise ConfigurationError("no token: give --token, or set ICSS_API_TOKEN")
    return IcssClient(url, token)


Bands = Annotated[
    str | None,
    typer.Option(help="numbers of the bands the network takes, as 1,2,3,4; default: all but alpha"),
]


def band_numbers(text: str | None) -> list[int] | None:
    """The numbers between commas.

    Raises:
        InvalidParameterError: something is no whole number.
    """
    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidParameterError(f"--bands takes numbers as 1,2,3,4, not {text!r}") from error


def image_reference(client: IcssClient, image: str) -> str:
    """What names an image to the service: an s3:// address as it is; a local file is uploaded first."""
    if "://" in image:
        return image
    path = Path(image)
    if not path.is_file():
        raise FileNotFoundError(2, "there is no such image; give a local file or an s3:// address", image)
    return client.upload(path).id
