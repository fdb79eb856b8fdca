"""Data sets of the Hugging Face hub, or in its format on disk.

Licence: the data set's own, on its card on the hub.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.array_reading import Loaded, as_inputs
from fedsim.data.dataset import Array, Dataset
from fedsim.data.packages import needed_by
from fedsim.errors import DataError

if TYPE_CHECKING:
    import datasets

__all__ = ["Hf"]


@dataclass(frozen=True)
class Hf:
    """A data set that ``datasets.load_dataset`` knows: downloaded once, then from its cache."""

    path: str
    """Repository on the hub, such as ylecun/mnist, or a folder."""
    revision: str | None = None
    """Commit of the repository; say one, or the data may change under you."""
    subset: str | None = None
    """Configuration, of repositories that have several."""
    train: str = "train"
    """Split for the clients."""
    test: str | None = "test"
    """Split for the server; null where there is none."""
    inputs: str = "image"
    """Column of the inputs: pictures, or lists of numbers."""
    labels: str = "label"
    """Column of the labels, integers from 0."""
    client: str | None = None
    """Column of each example's client, for the natural partition."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the data set; ``seed`` is of no account.

        Raises:
            DataError: if it is not to be had, for one because there is no network.
            MissingPackage: if ``datasets`` is not installed.
        """
        with needed_by("source 'hf'"):
            from datasets import load_dataset
        # What it has to say of each try to reach the hub is in the error, once.
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
        local = folder / self.path
        where = str(local) if local.is_dir() else self.path
        try:
            splits = load_dataset(where, self.subset, revision=self.revision)
        except Exception as error:  # The hub's client raises what its transport does.
            reason = str(error).strip().partition("\n")[0]
            raise DataError(f"hf:{self.path} cannot be loaded: {reason}") from error
        return self.dataset(splits)

    def dataset(self, splits: datasets.DatasetDict) -> Dataset:
        """Return splits that are loaded already as a data set.

        Raises:
            DataError: if a split or a column is not there.
        """
        train = self._split(splits, self.train)
        test = None if self.test is None else self._split(splits, self.test)
        return Loaded(
            inputs=_stacked(train[self.inputs]),
            labels=np.asarray(train[self.labels][:]),
            test_inputs=None if test is None else _stacked(test[self.inputs]),
            test_labels=None if test is None else np.asarray(test[self.labels][:]),
            client=None if self.client is None else np.asarray(train[self.client][:]),
            class_names=tuple(getattr(train.features[self.labels], "names", ())),
        ).dataset()

    def _split(self, splits: datasets.DatasetDict, name: str) -> datasets.Dataset:
        if name not in splits:
            raise DataError(f"hf:{self.path} has no split '{name}'; it has {', '.join(splits)}")
        for column in (self.inputs, self.labels, self.client):
            if column is not None and column not in splits[name].column_names:
                there = ", ".join(splits[name].column_names)
                raise DataError(f"hf:{self.path} has no column '{column}'; it has {there}")
        return splits[name]


def _stacked(column: datasets.Column) -> Array:
    """Return a column of pictures or numbers as one array."""
    try:
        return as_inputs(np.stack([np.asarray(value) for value in column]))
    except ValueError as error:
        raise DataError(f"the inputs do not all have one shape: {error}") from error
