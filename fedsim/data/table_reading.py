"""A table's rows as examples: which columns become which numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.array_reading import Loaded
from fedsim.data.dataset import Array, Dataset
from fedsim.data.missing import Missing
from fedsim.data.reading import reading
from fedsim.data.table import Column, joined
from fedsim.data.table_cells import refuse_empty, values_of
from fedsim.data.table_kinds import by_kind, kinds_note
from fedsim.data.table_layout import Planned, TableLayout
from fedsim.data.table_notes import table_notes
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "features_of",
    "frame_dataset",
    "labels_of",
    "planned",
    "read_table",
    "rows_of",
    "split_rows",
    "splits_of",
    "weights_of",
]


def read_table(source: TableLayout, folder: Path) -> Dataset:
    """Return the rows of a source's files as examples.

    Raises:
        DataError: if a file or a column is not there, or holds what cannot be learnt from.
    """
    train, test = splits_of(source, folder)
    with reading(folder / source.path):
        return frame_dataset(source, train, test)


def splits_of(source: TableLayout, folder: Path) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows of the training split and those of the test split, where there is one.

    Raises:
        DataError: if a file or a column is not there.
    """
    train = rows_of(source, folder / source.path)
    if source.test is not None:
        return train, rows_of(source, folder / source.test)
    with reading(folder / source.path):
        return split_rows(source, train)


def split_rows(
    source: TableLayout, frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the rows of both splits, as the column of splits says, if there is one.

    Raises:
        DataError: if it holds anything but ``train`` and ``test``, or none is ``train``.
    """
    if source.split is None:
        return frame, None
    values = frame[source.split].astype(str).to_numpy()
    if others := sorted({*values.tolist()} - {"train", "test"}):
        message = f"column '{source.split}' holds {others[0]!r}; train or test is expected"
        raise DataError(message, "split")
    is_test = values == "test"
    if is_test.all():
        raise DataError(f"column '{source.split}' holds no row that is 'train'", "split")
    train = frame[~is_test].reset_index(drop=True)
    return train, frame[is_test].reset_index(drop=True) if is_test.any() else None


def rows_of(source: TableLayout, path: Path) -> pd.DataFrame:
    """Return the table in ``path``, once every column that the source names is in it.

    Raises:
        DataError: if one is not.
    """
    with reading(path):
        frame = source.read(path)
        source.check_names([*frame.columns])
        return frame


def features_of(source: TableLayout, frame: pd.DataFrame) -> list[str]:
    """Return the columns that are learnt from: a row's number without a name is none of them."""
    names = [str(name) for name in source.chosen([*frame.columns])]
    if source.features:
        return names
    return [name for name in names if not _is_row_number(name, frame)]


def labels_of(source: TableLayout, frame: pd.DataFrame) -> Array:
    """Return the labels, ``(n,)``, or ``(n, k)`` where several columns are labels.

    Raises:
        DataError: if one is empty in a row, or several are not all numbers.
    """
    if isinstance(source.label, str):
        return _whole(source.label, frame)
    columns = [_whole(name, frame) for name in source.label]
    for name, values in zip(source.label, columns, strict=True):
        if values.dtype.kind not in "biuf":
            raise DataError(f"column '{name}' holds texts; several labels must be numbers", "label")
    return np.stack(columns, axis=1)


def weights_of(source: TableLayout, frame: pd.DataFrame) -> Array | None:
    """Return how much each row counts, ``(n,)``; None where the scenario names no such column.

    Raises:
        DataError: if a row has no weight.
    """
    return None if source.weight is None else _whole(source.weight, frame)


def frame_dataset(source: TableLayout, train: pd.DataFrame, test: pd.DataFrame | None) -> Dataset:
    """Return the rows of data frames as examples.

    Raises:
        DataError: if a column holds what cannot be learnt from.
    """
    if source.test is not None and source.split is not None:
        raise DataError("the test split is in the table or in a file of its own: drop one", "split")
    features = features_of(source, train)
    columns = [_column(name, source, train, test) for name in features]
    plan = tuple(planned(column.name, column.train, source.missing) for column in columns)
    names: tuple[str, ...] = ()
    if source.inputs_as == "kinds":
        inputs, test_inputs = by_kind(columns, plan, source.missing)
    else:
        inputs, test_inputs, names = joined(columns, source.missing)
    labels = labels_of(source, train)
    notes = [*table_notes(columns, labels)]
    if source.inputs_as == "kinds":
        notes.append(kinds_note(plan))
    if left_out := set(source.chosen([*train.columns])) - set(features):
        notes.append(f"a column without a name counts the rows: it is left out ({min(left_out)})")
    return Loaded(
        inputs=inputs,
        labels=labels,
        test_inputs=test_inputs,
        test_labels=None if test is None else labels_of(source, test),
        client=None if source.client is None else _whole(source.client, train),
        domain=None if source.domain is None else _whole(source.domain, train),
        test_domain=(
            None if source.domain is None or test is None else _whole(source.domain, test)
        ),
        weight=weights_of(source, train),
        test_weight=None if test is None else weights_of(source, test),
        columns=names,
        has_gaps=source.missing == "mean" and source.inputs_as == "columns",
        target_names=source.labels,
        table=plan,
        notes=tuple(notes),
    ).dataset()


def _column(
    name: str, source: TableLayout, train: pd.DataFrame, test: pd.DataFrame | None
) -> Column:
    refuse_empty(name, train)
    is_category = name in source.categorical
    values = values_of(name, train, is_category)
    others = None if test is None else values_of(name, test, is_category)
    is_text = [part.dtype.kind == "U" for part in (values, others) if part is not None]
    if any(is_text) and not all(is_text):
        raise DataError(f"column '{name}' holds texts in one file and numbers in the other")
    return Column(name, values, others, any(is_text))


def planned(name: str, values: Array, missing: Missing) -> Planned:
    """Return how a column of texts, empty where absent, or of numbers becomes numbers."""
    if values.dtype.kind == "U":
        return Planned(name, values=tuple(np.unique(values[values != ""]).tolist()))
    fill = {"error": None, "zero": 0.0, "mean": float(np.nanmean(values))}[missing]
    return Planned(name, fill=fill)


def _is_row_number(name: str, frame: pd.DataFrame) -> bool:
    """Return whether a column has no name and counts the rows, from 0 or 1: pandas' index."""
    if not name.startswith("Unnamed: "):
        return False
    values = frame[name].to_numpy()
    return values.dtype.kind in "iu" and bool((np.diff(values) == 1).all()) and values[0] in (0, 1)


def _whole(name: str, frame: pd.DataFrame) -> Array:
    """Return a column of numbers or texts in which no row is empty."""
    series = frame[name]
    if series.isna().any():
        raise DataError(f"column '{name}' is empty in {int(series.isna().sum())} rows")
    values = series.to_numpy()
    return values if values.dtype.kind in "biuf" else values.astype(np.str_)
