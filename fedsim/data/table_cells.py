"""The cells of one column of a table, as numbers or as texts, and which are neither."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.table_layout import list_fault
from fedsim.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["refuse_empty", "values_of"]

_MOSTLY = 0.5
"""Share of numbers, above which a column of texts looks like numbers with a slip in them."""
_DATE = r"^\d{4}-\d{1,2}-\d{1,2}([ T].*)?$"


def values_of(name: str, frame: pd.DataFrame, is_category: bool = False) -> Array:
    """Return numbers as float32, and anything else as text, empty where absent; ``(n,)``.

    Args:
        name: of the column.
        frame: the table.
        is_category: whether its values are to be texts whatever they look like.

    Raises:
        DataError: if the cells are dates, lists, or numbers but for a few.
    """
    import pandas as pd

    series = frame[name]
    if is_category:
        return _texts(series)
    if pd.api.types.is_datetime64_any_dtype(series):
        raise DataError(_date_fault(name), "features")
    if pd.api.types.is_numeric_dtype(series):
        return series.to_numpy(dtype=np.float32, na_value=np.nan)
    present = series.dropna()
    if any(isinstance(cell, list | tuple | dict | np.ndarray) for cell in present):
        raise DataError(list_fault(name), "features")
    _refuse_slips(name, series, pd.to_numeric(present.astype(str), errors="coerce").notna())
    texts = _texts(series)
    if len(present) and present.astype(str).str.match(_DATE).all():
        raise DataError(_date_fault(name), "features")
    return texts


def refuse_empty(name: str, frame: pd.DataFrame) -> None:
    """Refuse a column in which every cell is absent.

    Raises:
        DataError: if it is so.
    """
    if len(frame) and frame[name].isna().all():
        raise DataError(f"column '{name}' is empty in every row: leave it out", "features")


def _refuse_slips(name: str, series: pd.Series, is_number: pd.Series) -> None:
    """Refuse a column of texts most of which are numbers: a slip would make it categories.

    Raises:
        DataError: if it is; names the first cell that is no number.
    """
    if not len(is_number) or is_number.all() or is_number.mean() <= _MOSTLY:
        return
    wrong = np.flatnonzero(series.notna())[~is_number.to_numpy()]
    row, count, cell = int(wrong[0]) + 1, len(wrong), str(series.iloc[wrong[0]])[:40]
    raise DataError(
        f"column '{name}' holds numbers, but {cell!r} in row {row}"
        + (f" and {count - 1} more that are none" if count > 1 else "")
        + f": mend the file, or say categorical: [{name}]",
        "features",
    )


def _texts(series: pd.Series) -> Array:
    texts: Array = series.astype(object).where(series.notna(), "").astype(str).to_numpy()
    return texts.astype(np.str_)


def _date_fault(name: str) -> str:
    return (
        f"column '{name}' holds dates: turn them into numbers, leave it out, "
        f"or say categorical: [{name}]"
    )
