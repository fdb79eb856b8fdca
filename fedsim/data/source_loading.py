"""Asks a source for its data, and looks at what it gives."""

from __future__ import annotations

from pathlib import Path

from fedsim.data.dataset import Dataset, Source
from fedsim.errors import DataError

__all__ = ["loaded"]


def loaded(source: Source, seed: int, folder: Path) -> Dataset:
    """Return what ``source`` gives.

    Raises:
        DataError: if it cannot be read, or is no data set.
    """
    dataset: object = source.load(seed, folder)
    if not isinstance(dataset, Dataset):
        name = type(source).__name__
        kind = type(dataset).__name__
        raise DataError(f"{name}.load returned a {kind}, where a fedsim Dataset is expected")
    return dataset
