"""A table file by the names of its columns: what ``csv`` and ``parquet`` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.array_reading import Loaded, reading
from fedsim.data.dataset import Array, Dataset
from fedsim.data.packages import needed_by
from fedsim.data.table import Column, Missing, joined
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns", "Planned"]


@dataclass(frozen=True)
class Planned:
    """How one column of a table becomes numbers."""

    name: str
    values: tuple[str, ...] | None = None
    """A category's, each of which becomes a column of 0 and 1; None for a column of numbers."""
    fill: float | None = None
    """What an absent number becomes; None where that is a fault."""


@dataclass(frozen=True)
class Columns:
    """A table with a row per example; texts become categories, one-hot."""

    path: str
    """Relative to the scenario file."""
    label: str = "label"
    """Column of the labels: integers from 0, or texts, which are numbered in ascending order."""
    features: tuple[str, ...] | None = None
    """Columns to learn from; null: all others."""
    client: str | None = None
    """Column of each example's client, for the natural partition; not learnt from."""
    domain: str | None = None
    """Column of each example's domain; not learnt from."""
    test: str | None = None
    """A second file, with the test split."""
    missing: Missing = "error"
    """What an absent number becomes: the mean of its column, zero, or an error."""

    def load(self, seed: int, folder: Path) -> Dataset:
        """Return the rows as examples; ``seed`` is of no account.

        Raises:
            DataError: if a file or a column is not there, or holds what cannot be learnt from.
            MissingPackage: if pandas is not installed.
        """
        with needed_by(f"source '{type(self).__name__.lower()}'"):
            import pandas as pd  # noqa: F401
        train = self._rows(folder / self.path)
        test = None if self.test is None else self._rows(folder / self.test)
        with reading(folder / self.path):
            return self._dataset(train, test)

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in ``path``."""
        raise NotImplementedError

    def plan(self, folder: Path) -> list[Planned]:
        """Return how each column becomes numbers, so that another table becomes the same.

        Raises:
            DataError: as :meth:`load`.
        """
        frame = self._rows(folder / self.path)
        return [_planned(str(name), frame, self.missing) for name in self._features(frame)]

    def follow(self, plan: Sequence[Planned], folder: Path) -> tuple[Array, Array]:
        """Return the inputs, ``(n, width)``, and the labels of this table, as ``plan`` says.

        Raises:
            DataError: if a column of the plan is absent, or holds what the plan does not know.
        """
        frame = self._rows(folder / self.path)
        with reading(folder / self.path):
            return np.concatenate(
                [_followed(column_plan, frame) for column_plan in plan], axis=1
            ), _whole(self.label, frame)

    def _rows(self, path: Path) -> pd.DataFrame:
        with reading(path):
            frame = self.read(path)
            named = (self.label, *(self.features or ()), self.client, self.domain)
            for name in named:
                if name is not None and name not in frame.columns:
                    raise DataError(f"no column '{name}'; there are {', '.join(frame.columns)}")
            return frame

    def _features(self, frame: pd.DataFrame) -> Sequence[str]:
        others = (self.label, self.client, self.domain)
        return self.features or [str(name) for name in frame.columns if name not in others]

    def _dataset(self, train: pd.DataFrame, test: pd.DataFrame | None) -> Dataset:
        features = self._features(train)
        inputs, test_inputs = joined(
            [_column(name, train, test) for name in features], self.missing
        )
        return Loaded(
            inputs=inputs,
            labels=_whole(self.label, train),
            test_inputs=test_inputs,
            test_labels=None if test is None else _whole(self.label, test),
            client=None if self.client is None else _whole(self.client, train),
            domain=None if self.domain is None else _whole(self.domain, train),
            test_domain=None if self.domain is None or test is None else _whole(self.domain, test),
        ).dataset()


def _planned(name: str, frame: pd.DataFrame, missing: Missing) -> Planned:
    values = _values(frame[name])
    if values.dtype.kind == "U":
        return Planned(name, values=tuple(np.unique(values[values != ""]).tolist()))
    fill = {"error": None, "zero": 0.0, "mean": float(np.nanmean(values))}[missing]
    return Planned(name, fill=fill)


def _followed(plan: Planned, frame: pd.DataFrame) -> Array:
    if plan.name not in frame.columns:
        raise DataError(f"no column '{plan.name}'; there are {', '.join(frame.columns)}")
    values = _values(frame[plan.name])
    if plan.values is not None:
        texts = values.astype(np.str_)
        hot: Array = (texts[:, None] == np.array(plan.values)).astype(np.float32)
        return hot
    if values.dtype.kind == "U":
        raise DataError(f"column '{plan.name}' holds texts; the scenario's holds numbers")
    absent = np.isnan(values)
    if plan.fill is None and absent.any():
        raise DataError(f"column '{plan.name}' lacks {int(absent.sum())} values")
    return np.where(absent, np.float32(plan.fill or 0), values).astype(np.float32)[:, None]


def _column(name: str, train: pd.DataFrame, test: pd.DataFrame | None) -> Column:
    values = _values(train[name])
    others = None if test is None else _values(test[name])
    is_text = [part.dtype.kind == "U" for part in (values, others) if part is not None]
    if any(is_text) and not all(is_text):
        raise DataError(f"column '{name}' holds texts in one file and numbers in the other")
    return Column(name, values, others, any(is_text))


def _values(series: pd.Series) -> Array:
    """Return numbers as float32, and anything else as text, empty where absent."""
    import pandas as pd

    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(dtype=np.float32, na_value=np.nan)
    return series.astype(object).where(series.notna(), "").astype(str).to_numpy().astype(np.str_)


def _whole(name: str, frame: pd.DataFrame) -> Array:
    """Return a column of numbers or texts in which no row is empty."""
    series = frame[name]
    if series.isna().any():
        raise DataError(f"column '{name}' is empty in {int(series.isna().sum())} rows")
    values = series.to_numpy()
    return values if values.dtype.kind in "biuf" else values.astype(np.str_)
