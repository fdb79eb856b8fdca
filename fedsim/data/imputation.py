"""What absent numbers become: means of the training parts, which no test or validation part moves.

A source leaves the numbers absent (NaN) where ``missing: mean`` asks for their column's mean, for
which rows train is known only when the examples are partitioned.
"""

from __future__ import annotations

import numpy as np

from fedsim.data.dataset import Array

__all__ = ["imputed", "training_means"]


def training_means(inputs: Array, rows: Array, are_columns: bool) -> Array:
    """Return the mean of the numbers that are there, float64, of the shape of one example.

    It is 0 where no training example has a number.

    Args:
        inputs: ``(n, *features)``, NaN where absent.
        rows: those that are trained on, ascending.
        are_columns: whether each feature is a column of a table, summed by itself.
    """
    train = inputs if len(rows) == len(inputs) else inputs[rows]
    if are_columns:
        return np.concatenate([_means(train[:, [k]]) for k in range(train.shape[1])])
    return _means(train)


def _means(values: Array) -> Array:
    is_present = ~np.isnan(values)
    total = np.where(is_present, values, 0).sum(axis=0, dtype=np.float64)
    means: Array = total / np.maximum(is_present.sum(axis=0), 1)
    return means


def imputed(inputs: Array, fill: Array) -> Array:
    """Return ``inputs`` with ``fill``, of the shape of one example, where a number is absent."""
    return np.where(np.isnan(inputs), fill, inputs).astype(np.float32)
