"""Strata: what partitions and hold-outs stratify by, whatever kind the labels are of."""

from __future__ import annotations

import numpy as np

from fedsim.data.dataset import Array, Dataset

__all__ = ["named_strata", "strata_of"]

BINS = 10
"""Equally large groups that amounts are cut into."""


def strata_of(dataset: Dataset, bins: int = BINS) -> Array:
    """Return the stratum of each training example, integers from 0, ``(n,)``.

    It is the first of what :func:`named_strata` gives.
    """
    return named_strata(dataset, bins)[0]


def named_strata(dataset: Dataset, bins: int = BINS) -> tuple[Array, tuple[str, ...]]:
    """Return the stratum of each training example, ``(n,)``, and the strata's names.

    What the data set says itself, or else

    ====================================  ========================================================
    labels                                strata
    ====================================  ========================================================
    class numbers ``(n,)``                the classes
    amounts ``(n,)``                      ``bins`` groups of equal size, fewer where values repeat
    amounts ``(n, k)``                    the same of the mean of the standardised columns
    marks ``(n, k)``, bool                the rarest label that an example has, or none
    masks, sequences of tokens            one stratum: there is nothing to stratify by
    ====================================  ========================================================

    Args:
        dataset: whose labels are looked at.
        bins: groups of amounts.
    """
    if dataset.strata is not None:
        return dataset.strata, tuple(map(str, range(int(dataset.strata.max()) + 1)))
    labels = dataset.labels
    if labels.ndim == 1 and dataset.classes:
        return labels, dataset.class_names or tuple(map(str, range(dataset.classes)))
    if labels.ndim <= 2 and not dataset.classes and labels.dtype != np.bool_:
        return _bins(labels, bins)
    if labels.ndim == 2 and labels.dtype == np.bool_:
        return _rarest(labels)
    return np.zeros(len(labels), np.int64), ("all",)


def _bins(amounts: Array, bins: int) -> tuple[Array, tuple[str, ...]]:
    values = amounts.astype(np.float64).reshape(len(amounts), -1)
    if values.shape[1] > 1:
        spread = values.std(axis=0)
        values = (values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)
    level = values.mean(axis=1)
    # Values that many examples share can be an edge twice: such groups are one.
    edges = np.unique(np.quantile(level, np.arange(1, bins) / bins, method="inverted_cdf"))
    _, strata = np.unique(np.searchsorted(edges, level, side="left"), return_inverse=True)
    names = []
    for stratum in range(int(strata.max()) + 1):
        inside = level[strata == stratum]
        low, high = (f"{value:.6g}" for value in (inside.min(), inside.max()))
        names.append(low if low == high else f"{low} to {high}")
    return strata.astype(np.int64), tuple(names)


def _rarest(marks: Array) -> tuple[Array, tuple[str, ...]]:
    """Return the rarest label of each example; examples without any come last."""
    labels = marks.shape[1]
    order = np.argsort(marks.sum(axis=0), kind="stable")
    first = order[marks[:, order].argmax(axis=1)]
    strata = np.where(marks.any(axis=1), first, labels)
    return strata.astype(np.int64), (*map(str, range(labels)), "none")
