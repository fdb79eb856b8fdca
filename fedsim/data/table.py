"""Tables: columns of numbers and of categories, side by side as one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.missing import Missing
from fedsim.errors import DataError

__all__ = ["Column", "filled", "joined"]

_MOST = 1000
"""Different values that a column may have before it looks like a name or a date."""


@dataclass(frozen=True, eq=False)
class Column:
    """One column of a table, of the training and of the test examples."""

    name: str
    train: Array
    """Shape ``(n,)``: numbers, NaN where absent; or texts, empty where absent."""
    test: Array | None
    is_category: bool


_Part = tuple[Array, Array | None, list[str]]
"""The columns that a column becomes, of both splits, and their names."""


def joined(
    columns: Sequence[Column], missing: Missing
) -> tuple[Array, Array | None, tuple[str, ...]]:
    """Return the columns side by side, ``(n, width)`` and ``(m, width)``, float32, and their names.

    A category becomes one column of 0 and 1 for each value that the training examples have, in
    ascending order.  A value that is absent, or that only the test has, is a row of zeros.

    Raises:
        DataError: if a number is absent and ``missing`` is ``error``, or a category has more
            than 1,000 values.
    """
    if not columns:
        raise DataError("there is no column to learn from")
    parts = [
        _one_hot(column) if column.is_category else _number(column, missing) for column in columns
    ]
    train = np.concatenate([part for part, _, _ in parts], axis=1)
    tests = [test for _, test, _ in parts if test is not None]
    names = tuple(name for _, _, names in parts for name in names)
    return train, np.concatenate(tests, axis=1) if tests else None, names


def filled(
    train: Array, test: Array | None, missing: Missing, what: str = "the inputs"
) -> tuple[Array, Array | None]:
    """Return float arrays without NaN; with ``mean`` it is left for :mod:`fedsim.data.imputation`.

    Raises:
        DataError: if there is a NaN and ``missing`` is ``error``.
    """
    parts = [part for part in (train, test) if part is not None]
    absent = sum(int(np.isnan(part).sum()) for part in parts if part.dtype.kind == "f")
    if not absent:
        return train, test
    if missing == "error":
        raise DataError(f"{what} lack {absent} values (NaN); say missing: mean or missing: zero")
    if missing == "mean":
        return train, test
    complete = [np.where(np.isnan(part), 0, part).astype(np.float32) for part in parts]
    return complete[0], None if test is None else complete[1]


def _number(column: Column, missing: Missing) -> _Part:
    train = column.train.astype(np.float32)[:, None]
    test = None if column.test is None else column.test.astype(np.float32)[:, None]
    complete = filled(train, test, missing, f"the cells of column '{column.name}'")
    return (*complete, [column.name])


def _one_hot(column: Column) -> _Part:
    train = column.train
    absent = np.isnan(train) if train.dtype.kind == "f" else train == ""
    values = np.unique(train[~absent])
    if len(values) > _MOST:
        raise DataError(f"column '{column.name}' has {len(values)} different values: leave it out")

    def hot(part: Array) -> Array:
        columns: Array = (part[:, None] == values).astype(np.float32)
        return columns

    names = [f"{column.name}={value}" for value in values]
    return hot(train), None if column.test is None else hot(column.test), names
