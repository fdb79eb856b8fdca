"""A table's columns as two inputs: numbers, and numbered categories for an embedding.

In place of one-hot columns: a model is given ``numeric`` ``(n, k)``, float32, and ``category``
``(n, c)``, int64.  Each column's values have numbers of their own, so that one embedding serves
all columns; 0 is what is absent or unknown.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.missing import Missing
from fedsim.data.records import records_of
from fedsim.data.table import Column, joined
from fedsim.data.table_layout import Planned
from fedsim.errors import DataError

__all__ = ["by_kind", "kinds_note", "numbered"]


def by_kind(
    columns: Sequence[Column], plan: Sequence[Planned], missing: Missing
) -> tuple[Array, Array | None]:
    """Return the columns of both splits as records.

    Args:
        columns: of numbers and of categories.
        plan: how each becomes numbers.
        missing: what an absent number becomes; means are for one array of inputs.

    Raises:
        DataError: if there is no column, or a number is absent.
    """
    if not columns:
        raise DataError("there is no column to learn from")
    numbers = [column for column in columns if not column.is_category]
    if missing == "mean" and any(_has_gap(column) for column in numbers):
        raise DataError(
            "means are filled in where inputs_as is columns: say missing: zero", "missing"
        )
    train, test = {}, {}
    if numbers:
        train["numeric"], numeric, _ = joined(numbers, missing)
        test["numeric"] = numeric
    categories = [column for column in columns if column.is_category]
    if categories:
        train["category"] = numbered([column.train for column in categories], plan)
        tests = [column.test for column in categories if column.test is not None]
        test["category"] = numbered(tests, plan) if tests else None
    there = {name: array for name, array in test.items() if array is not None}
    return records_of(train), records_of(there) if there else None


def numbered(columns: Sequence[Array], plan: Sequence[Planned]) -> Array:
    """Return texts as numbers ``(n, c)``, int64; what the plan does not know is 0.

    Args:
        columns: the texts of each category ``(n,)``, in the order of the plan.
        plan: of all columns; those of numbers are passed over.
    """
    codes, first = [], 1
    for texts, column in zip(columns, _categories(plan), strict=True):
        values = np.array(column.values, dtype=np.str_)
        if not len(values):
            codes.append(np.zeros(len(texts), np.int64))
            continue
        at = np.minimum(np.searchsorted(values, texts), len(values) - 1)
        codes.append(np.where(values[at] == texts, first + at, 0))
        first += len(values)
    return np.stack(codes, axis=1)


def kinds_note(plan: Sequence[Planned]) -> str:
    """Return which columns the two inputs have, in their order."""
    numeric = ", ".join(column.name for column in plan if column.values is None)
    category = ", ".join(
        f"{column.name} ({len(column.values or ())} values)" for column in _categories(plan)
    )
    return f"the inputs are numeric: {numeric or 'none'}; category: {category or 'none'}"


def _categories(plan: Sequence[Planned]) -> list[Planned]:
    return [column for column in plan if column.values is not None]


def _has_gap(column: Column) -> bool:
    parts = [part for part in (column.train, column.test) if part is not None]
    return any(np.isnan(part.astype(np.float32)).any() for part in parts)
