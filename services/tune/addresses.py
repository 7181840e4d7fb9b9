"""The data sets of a sweep: named in its file, found where the user says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from icss_core.errors import InvalidParameterError
from services.data.dataset import read_dataset

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from icss_core.dataset import Dataset
    from services.storage import Storage


def read_datasets(
    names: Collection[str], addresses: Mapping[str, str], storage: Storage
) -> dict[str, Dataset]:
    """Data sets by name.

    Raises:
        InvalidParameterError: one has no address.
        IcssError: one cannot be read.
    """
    missing = sorted(set(names) - addresses.keys())
    if missing:
        raise InvalidParameterError(
            f"no address for the data sets {missing}; name them as NAME=s3://.../dataset.yaml"
        )
    return {name: read_dataset(addresses[name], storage) for name in names}
