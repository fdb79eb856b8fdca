"""Sums of sums, the same in any order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.metrics.metric import Sums

__all__ = ["pooled"]


def pooled(parts: Sequence[Sums]) -> dict[str, NDArray[Any]]:
    """Return the sums over all ``parts``: integers added, floats by ``math.fsum``."""
    names = parts[0] if parts else {}
    return {name: _sum([np.asarray(part[name]) for part in parts]) for name in names}


def _sum(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if arrays[0].dtype.kind != "f":
        total: NDArray[Any] = np.sum(arrays, axis=0)
        return total
    columns = np.stack([array.reshape(-1) for array in arrays])
    sums = np.array([math.fsum(column) for column in columns.T])
    return sums.reshape(arrays[0].shape)
