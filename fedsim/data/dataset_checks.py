"""What makes the arrays of a data set sound."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedsim.errors import DataError

__all__ = ["Array", "check_index", "check_split", "check_weight", "names_in"]

Array = NDArray[Any]


def names_in(inputs: Array) -> tuple[str, ...]:
    """Return the names of several inputs, which are records; none where they are one array."""
    return tuple(inputs.dtype.names or ())


def check_split(
    inputs: Array, labels: Array, classes: int, which: str, has_gaps: bool = False
) -> None:
    """Check the examples of one split, which errors call ``which``.

    Raises:
        DataError: if there are none, or not as many labels, or values nothing can be made of.
    """
    if not len(inputs):
        raise DataError(f"the {which}inputs are empty; there must be at least one example")
    if classes and labels.ndim == 1:
        check_index(labels, len(inputs), f"{which}labels", classes)
    else:
        _check_labels(labels, len(inputs), f"{which}labels", classes)
    if not names_in(inputs):
        _check_inputs(inputs, f"{which}inputs", has_gaps)
    for name in names_in(inputs):
        _check_inputs(inputs[name], f"{which}inputs '{name}'", False)


def _check_inputs(inputs: Array, which: str, has_gaps: bool) -> None:
    """Check one array of inputs: of a type that a model takes, and finite."""
    if inputs.dtype not in (np.uint8, np.float32, np.int64):
        must = "they must be uint8 or float32, or int64 for token ids"
        raise DataError(f"the {which} are {inputs.dtype}; {must}")
    if inputs.dtype == np.int64 and inputs.size and int(inputs.min()) < 0:
        raise DataError(f"the {which} go down to {inputs.min()}; token ids start from 0")
    if has_gaps and np.isinf(inputs).any():
        raise DataError(f"the {which} hold {int(np.isinf(inputs).sum())} infinite values")
    if not has_gaps:
        _check_finite(inputs, which)


def _check_labels(labels: Array, length: int, which: str, classes: int) -> None:
    """Check labels that are no plain class numbers: of any shape, and of a type to learn from."""
    if len(labels) != length:
        raise DataError(f"there are {len(labels)} {which} for {length} inputs")
    if classes:  # at some places of an example there may be none, which is -1
        check_index(np.maximum(labels.reshape(-1), 0), labels.size, which, classes)
    elif labels.dtype not in (np.int64, np.float32, np.bool_):
        raise DataError(f"the {which} are {labels.dtype}; they must be int64, float32 or bool")
    _check_finite(labels, which)


def check_weight(weight: Array | None, length: int, which: str) -> None:
    """Check how much each of ``length`` examples counts, where it is said.

    Raises:
        DataError: if they are no float32 from 0, or all 0.
    """
    if weight is None:
        return
    if weight.shape != (length,) or weight.dtype != np.float32:
        here = f"{weight.dtype} {weight.shape}"
        raise DataError(f"the {which}weights are {here} where float32 ({length},) is expected")
    _check_finite(weight, f"{which}weights")
    if weight.min() < 0 or not weight.any():
        raise DataError(f"the {which}weights must be 0 or more, and not all of them 0")


def _check_finite(values: Array, which: str) -> None:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = int(np.count_nonzero(~np.isfinite(values)))
        raise DataError(f"the {which} hold {bad} values that are NaN or infinite")


def check_index(index: Array | None, length: int, which: str, below: int | None = None) -> None:
    """Check that ``index`` is ``length`` integers from 0 (and less than ``below``).

    Raises:
        DataError: if it is not.
    """
    if index is None:
        return
    if index.shape != (length,):
        raise DataError(f"the {which} have the shape {index.shape} where ({length},) is expected")
    if index.dtype.kind not in "iu":
        raise DataError(f"the {which} are {index.dtype}; they must be integers from 0")
    if int(index.min()) < 0:
        raise DataError(f"the {which} go down to {index.min()}; they must be integers from 0")
    if below is not None and int(index.max()) >= below:
        raise DataError(f"the {which} go up to {index.max()}, of {below} that there are, from 0")
