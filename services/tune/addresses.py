"""The data sets of a sweep: its file names them, the command line says where they are."""

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
    """Read the data sets of a sweep, by name.

    Raises:
        InvalidParameterError: a data set has no address.
        IcssError: a data set cannot be read.
    """
    missing = sorted(set(names) - addresses.keys())
    if missing:
        raise InvalidParameterError(
            f"no address for the data sets {missing}; name them as NAME=s3://.../dataset.yaml"
        )
    return {name: read_dataset(addresses[name], storage) for name in names}
