"""How a table file is to be read: which column is what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from fedsim.data.missing import Missing
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Planned", "TableHead", "TableLayout", "list_fault"]


@dataclass(frozen=True)
class Planned:
    """How one column of a table becomes numbers."""

    name: str
    values: tuple[str, ...] | None = None
    """A category's, each of which becomes a column of 0 and 1; None for a column of numbers."""
    fill: float | None = None
    """What an absent number becomes; None where that is a fault."""

    @classmethod
    def of(cls, column: Mapping[str, Any]) -> Planned:
        """Return a column from plain values, as JSON holds them."""
        values = column["values"]
        return cls(column["name"], None if values is None else tuple(values), column["fill"])


@dataclass(frozen=True)
class TableHead:
    """What the first lines or the footer of a table tell."""

    columns: Mapping[str, str]
    """The kind of each: ``int64``, ``float64``, ``text``, ``bool``, ``list``, ``date``, ..."""
    rows: int | None = None


@dataclass(frozen=True)
class TableLayout:
    """How a scenario says to read a table with a row per example."""

    path: str
    """Relative to the scenario file."""
    label: str | tuple[str, ...] = "label"
    """Column of the labels: integers from 0, texts, which are numbered in ascending order, or
    amounts; several columns are several labels at once."""
    features: tuple[str, ...] | None = None
    """Columns to learn from; null: all others."""
    client: str | None = None
    """Column of each example's client, for the natural partition; not learnt from."""
    domain: str | None = None
    """Column of each example's domain; not learnt from."""
    weight: str | None = None
    """Column of how much each example counts; not learnt from."""
    categorical: tuple[str, ...] = ()
    """Columns of numbers, or of dates, whose values are categories: they become one-hot."""
    test: str | None = None
    """A second file, with the test split."""
    split: str | None = None
    """Column with train or test in each row, where the test split is in the same table."""
    missing: Missing = "error"
    """What an absent number becomes: the mean of its column, zero, or an error."""
    inputs_as: Literal["columns", "kinds"] = "columns"
    """What a model is given: one array of columns, categories one-hot; or two inputs by name,
    numeric (n, k) and category (n, c), where categories are numbered for an embedding."""

    def read(self, path: Path) -> pd.DataFrame:
        """Return the table in ``path``."""
        raise NotImplementedError

    def head(self, path: Path) -> TableHead:
        """Return what the table in ``path`` tells without being read."""
        raise NotImplementedError

    @property
    def labels(self) -> tuple[str, ...]:
        """The columns of the labels."""
        return (self.label,) if isinstance(self.label, str) else self.label

    def chosen(self, columns: Sequence[str] | Mapping[str, str]) -> list[str]:
        """Return the columns of a table that are learnt from."""
        others = (*self.labels, self.client, self.domain, self.weight, self.split)
        return [*(self.features or (name for name in columns if name not in others))]

    def check_names(self, columns: Sequence[str] | Mapping[str, str]) -> None:
        """Check that every column that is named is there.

        Raises:
            DataError: if one is not.
        """
        for parameter, name in self._named():
            if name not in columns:
                there = ", ".join(map(str, columns))
                raise DataError(f"no column '{name}'; there are {there}", parameter)

    def _named(self) -> Iterator[tuple[str, str]]:
        yield from (("label", name) for name in self.labels)
        yield from (("features", name) for name in self.features or ())
        yield from (("categorical", name) for name in self.categorical)
        for parameter in ("client", "domain", "weight", "split"):
            if (name := getattr(self, parameter)) is not None:
                yield parameter, name


def list_fault(name: str) -> str:
    """Return what is wrong with a column of lists."""
    return f"column '{name}' holds lists: give each value a column of its own, or leave it out"
