"""How a table's columns become numbers, written down, so that another table becomes the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.reading import reading
from fedsim.data.records import records_of
from fedsim.data.table_cells import values_of
from fedsim.data.table_kinds import numbered
from fedsim.data.table_layout import Planned, TableLayout
from fedsim.data.table_reading import (
    features_of,
    labels_of,
    planned,
    rows_of,
    splits_of,
    weights_of,
)
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["followed", "plan_of", "planned_inputs"]


def plan_of(source: TableLayout, folder: Path) -> list[Planned]:
    """Return how each column of the source's file becomes numbers.

    Raises:
        DataError: if it cannot be read.
    """
    frame, _ = splits_of(source, folder)
    return [
        planned(name, values_of(name, frame, name in source.categorical), source.missing)
        for name in features_of(source, frame)
    ]


def followed(
    source: TableLayout, plan: Sequence[Planned], folder: Path
) -> tuple[Array, Array, Array | None]:
    """Return inputs, ``(n, width)``, labels and weights of the source's file, as ``plan`` says.

    Raises:
        DataError: if a column of the plan is absent, or holds what the plan does not know.
    """
    frame = rows_of(source, folder / source.path)
    with reading(folder / source.path):
        inputs = [_followed(column, frame) for column in plan]
        return np.concatenate(inputs, axis=1), labels_of(source, frame), weights_of(source, frame)


def planned_inputs(source: TableLayout, plan: Sequence[Planned], path: Path) -> Array:
    """Return the inputs in ``path``, ``(n, width)``, or records; labels need not be there.

    Raises:
        DataError: as :func:`followed`.
    """
    with reading(path):
        frame = source.read(path)
        if source.inputs_as == "kinds":
            return _by_kind(plan, frame)
        return np.concatenate([_followed(column, frame) for column in plan], axis=1)


def _by_kind(plan: Sequence[Planned], frame: pd.DataFrame) -> Array:
    """Return numbers and numbered categories, as the plan says, as records."""
    numbers = [_followed(column, frame) for column in plan if column.values is None]
    texts = [_cells(column, frame) for column in plan if column.values is not None]
    fields = {"numeric": np.concatenate(numbers, axis=1)} if numbers else {}
    return records_of(fields | ({"category": numbered(texts, plan)} if texts else {}))


def _cells(plan: Planned, frame: pd.DataFrame) -> Array:
    if plan.name not in frame.columns:
        raise DataError(f"no column '{plan.name}'; there are {', '.join(frame.columns)}")
    return values_of(plan.name, frame, plan.values is not None)


def _followed(plan: Planned, frame: pd.DataFrame) -> Array:
    values = _cells(plan, frame)
    if plan.values is not None:
        hot: Array = (values[:, None] == np.array(plan.values)).astype(np.float32)
        return hot
    if values.dtype.kind == "U":
        raise DataError(f"column '{plan.name}' holds texts; the scenario's holds numbers")
    absent = np.isnan(values)
    if plan.fill is None and absent.any():
        raise DataError(f"column '{plan.name}' lacks {int(absent.sum())} values")
    return np.where(absent, np.float32(plan.fill or 0), values).astype(np.float32)[:, None]
