"""Columns of a table that a user should look at before anything is learnt from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.table import Column

__all__ = ["table_notes"]

_FEWEST = 100
"""Rows, below which a column gives labels away by chance."""
_MOST = 5000
"""Rows that are looked at, evenly chosen."""
_BINS = 20
_TELLS = 0.97
"""Share of what is to be learnt, above which a column alone gives the label away."""


def table_notes(columns: Sequence[Column], labels: Array) -> Iterator[str]:
    """Yield a note for each column that looks like an identity, or gives the label away.

    Args:
        columns: what is learnt from.
        labels: of the training examples, `(n,)` or `(n, k)`.
    """
    rows = np.arange(0, len(labels), max(1, len(labels) // _MOST))
    for column in columns:
        if _is_identity(column.train):
            yield (
                f"column '{column.name}' differs in every row, as a name or a number of the rows "
                "does: leave it out unless it measures something"
            )
        elif labels.ndim == 1 and len(rows) >= _FEWEST:
            share = _told(_groups(column.train[rows]), labels[rows])
            if share > _TELLS:
                yield (
                    f"column '{column.name}' alone tells {share:.0%} of what there is to learn: "
                    "is it known before the label is?"
                )


def _is_identity(values: Array) -> bool:
    if len(values) < _BINS or len(np.unique(values)) < len(values):
        return False
    return values.dtype.kind == "U" or bool((values == np.round(values)).all())


def _groups(values: Array) -> Array:
    """Return a group number for each row: the category, or one of 20 equally full bins."""
    if values.dtype.kind != "U":
        filled = np.nan_to_num(values.astype(np.float64), nan=np.nanmin(values))
        distinct = np.unique(filled)
        if len(distinct) > _BINS:
            edges = np.unique(np.quantile(filled, np.arange(1, _BINS) / _BINS))
            return np.searchsorted(edges, filled, side="right")
        values = filled
    return np.unique(values, return_inverse=True)[1]


def _told(groups: Array, labels: Array) -> float:
    """Return which share of the labels' variation, or of a majority's mistakes, the groups end."""
    sizes = np.bincount(groups)
    if len(groups) < 5 * len(sizes):  # each group tells of itself alone
        return 0.0
    if labels.dtype.kind == "f":
        values = labels.astype(np.float64)
        means = np.bincount(groups, values) / np.maximum(sizes, 1)
        total = np.square(values - values.mean()).sum()
        return float(1 - np.square(values - means[groups]).sum() / total) if total else 0.0
    distinct, classes = np.unique(labels, return_inverse=True)
    table = np.zeros((len(sizes), len(distinct)))
    np.add.at(table, (groups, classes), 1)
    mistakes = len(labels) - table.sum(axis=0).max()
    return float(1 - (len(labels) - table.max(axis=1).sum()) / mistakes) if mistakes else 0.0
