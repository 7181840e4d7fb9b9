"""Images in the store by what a request calls them: addresses, prefixes, a dataset.yaml, lists."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final

from icss_core.errors import InvalidParameterError
from icss_core.raster.formats import IMAGE_EXTENSIONS
from icss_core.text_file import decoded
from services.data.dataset import read_dataset
from services.s3_address import S3Address

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from services.storage import Storage

_DATASET: Final = (".yaml", ".yml")
_LIST: Final = ".txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """An image in the store."""

    name: str
    """Path within its prefix, the scene's name in a data set, or the path within the folder that all single
    images have in common."""
    address: str
    etag: str | None = None
    """Entity tag of the object, where it was listed; None: not asked for yet."""


def find_images(
    sources: Iterable[str], storage: Storage, *, pattern: str = "*", apart_from: str | None = None
) -> list[StoredImage]:
    """Images, each once, in the order of the sources.

    Args:
        sources: addresses: of images; of prefixes, whose images are all taken but for hidden ones; of a
            dataset.yaml; of a text file with one address a line, where lines that start with # do not count.
        storage: where they lie.
        pattern: which files of a prefix are taken, by their path within it, as `fnmatch` reads it.
        apart_from: images of prefixes and data sets under this prefix are left out.

    Raises:
        UriNotAllowedError: an address is malformed, or may not be read.
        InvalidParameterError: a list is no text.
        StorageError: a prefix cannot be listed, or a list not be read.
        DatasetError: a dataset.yaml is not one.
    """
    outside = None if apart_from is None else S3Address.parse(storage.check_allowed(apart_from))
    found: dict[str, StoredImage] = {}
    single: list[str] = []
    for source in sources:
        suffix = PurePosixPath(source).suffix.lower()
        if suffix in _DATASET:
            images = _of_dataset(source, storage)
        elif suffix == _LIST:
            single += _listed(source, storage)
            continue
        elif suffix in IMAGE_EXTENSIONS and not source.endswith("/"):
            single.append(source)
            continue
        else:
            images = _under_prefix(source, pattern, storage)
        for one in images:
            if outside is None or not S3Address.parse(one.address).within(outside):
                found[one.address] = one
    found |= {one.address: one for one in _single(single, storage) if one.address not in found}
    return list(found.values())


def _of_dataset(address: str, storage: Storage) -> Iterator[StoredImage]:
    dataset = read_dataset(address, storage)
    for scene in dataset.scenes:
        yield StoredImage(name=scene.name, address=storage.check_object(dataset.address(scene.image)))


def _listed(address: str, storage: Storage) -> list[str]:
    """The addresses in a text file."""
    lines = [
        line.strip()
        for line in decoded(storage.read_bytes(address), address, InvalidParameterError).splitlines()
    ]
    return [line for line in lines if line and not line.startswith("#")]


def _under_prefix(prefix: str, pattern: str, storage: Storage) -> Iterator[StoredImage]:
    base = storage.check_allowed(prefix)
    for entry in storage.entries(prefix):
        path = PurePosixPath(entry.address.removeprefix(f"{base}/"))
        hidden = any(part.startswith(".") for part in path.parts)
        if path.suffix.lower() in IMAGE_EXTENSIONS and fnmatch(str(path), pattern) and not hidden:
            yield StoredImage(name=str(path), address=entry.address, etag=entry.etag)


def _single(addresses: list[str], storage: Storage) -> Iterator[StoredImage]:
    checked = [storage.check_object(address) for address in addresses]
    folders = [address.split("/")[:-1] for address in checked]
    common = 0
    while folders and all(
        len(folder) > common and folder[common] == folders[0][common] for folder in folders
    ):
        common += 1
    for address in checked:
        yield StoredImage(name="/".join(address.split("/")[common:]), address=address)
