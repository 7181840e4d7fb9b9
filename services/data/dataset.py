"""The data set at an address in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.dataset import Dataset

if TYPE_CHECKING:
    from services.storage import Storage


def read_dataset(uri: str, storage: Storage) -> Dataset:
    """The data set at an s3:// address.

    Raises:
        UriNotAllowedError, ObjectNotFoundError, StorageError: it cannot be fetched.
        DatasetError: it is not one.
    """
    return Dataset.from_yaml(storage.read_bytes(uri), base=uri.rpartition("/")[0])
