"""The data frames that a user's functions return as a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fedsim.data.dataset import Dataset
from fedsim.data.reading import reading
from fedsim.data.returned_arrays import described
from fedsim.data.table_reading import frame_dataset, split_rows
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from fedsim.data.table_layout import TableLayout
    from fedsim.plugins.user_function import UserFunction

__all__ = ["read_frames"]


def read_frames(source: TableLayout, results: Sequence[tuple[UserFunction, object]]) -> Dataset:
    """Return the rows of data frames as examples.

    Args:
        source: which column is what.
        results: the function of the training split with what it returned; that of the test
            split too, if there is one.

    Raises:
        DataError: if one returned something else, or a column is not there or holds what
            cannot be learnt from.
    """
    with reading(results[0][0].file):
        frames = [_frame(result, function.who) for function, result in results]
        for frame in frames:
            source.check_names([*frame.columns])
        train, test = split_rows(source, frames[0])
        return frame_dataset(source, train, frames[1] if len(frames) == 2 else test)


def _frame(result: object, who: str) -> pd.DataFrame:
    """Return a frame with texts for names of columns, plain numbers, and rows numbered from 0."""
    import pandas as pd

    if not isinstance(result, pd.DataFrame):
        message = f"{who} returned {described(result)}; a pandas DataFrame is expected"
        raise DataError(message, "path")
    frame = result.reset_index(drop=True).rename(columns=str)
    if not len(frame):
        raise DataError(f"{who} returned a frame without a row", "path")
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{who} returned a frame with two columns '{twice}'", "path")
    # Whole numbers and truth values of pandas' own types, where none is absent, are NumPy's.
    plain = {
        name: column.dtype.numpy_dtype
        for name, column in frame.items()
        if hasattr(column.dtype, "numpy_dtype")
        and column.dtype.kind in "biuf"
        and not column.isna().any()
    }
    return frame.astype(plain)
