"""What a user's code returned, as an array, and in words where it is none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fedsim.data.dataset import Array
from fedsim.errors import DataError

__all__ = ["array_of", "client_ids", "described"]


def array_of(values: Any, which: str) -> Array:
    """Return an array, a tensor, a picture, a number or a list of numbers as an array.

    Raises:
        DataError: if it is ragged, or holds neither numbers nor texts.
    """
    if hasattr(values, "detach"):
        values = _from_tensor(values)
    try:
        array = np.asarray(values)
    except ValueError as error:  # NumPy's word for rows of several lengths
        raise DataError(f"{which} are ragged: {_first_odd(values)}") from error
    if array.dtype.kind == "O":
        kinds = sorted({type(value).__name__ for value in array.reshape(-1)[:1000]})
        raise DataError(f"{which} hold {', '.join(kinds)}; numbers or texts are expected")
    return array


def client_ids(values: Array, who: str) -> Array:
    """Return whose each example is, ``(n,)``: integers or texts.

    Raises:
        DataError: if they are anything else, or an array of more dimensions.
    """
    if values.ndim != 1:
        raise DataError(f"{who} gives clients of the shape {values.shape}; one each is expected")
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values % 1 == 0).all():
        return values.astype(np.int64)
    if values.dtype.kind not in "iuU":
        odd = next((v for v in values if values.dtype.kind != "f" or v % 1 != 0), values[:1])
        message = f"{who} gives clients of the type {values.dtype}, such as {odd}"
        raise DataError(f"{message}; integers or texts are expected")
    return values


def described(value: object) -> str:
    """Return in words what ``value`` is, with its shape if it has one."""
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    shape = getattr(value, "shape", None)
    if shape is not None and not callable(shape):
        return f"a {name} of the shape {tuple(shape)}"
    return f"a {name}"


def _from_tensor(values: Any) -> Any:
    values = values.detach().cpu()
    try:
        return values.numpy()
    except TypeError:  # bfloat16, which NumPy does not know
        return values.float().numpy()


def _first_odd(values: Sequence[Any]) -> str:
    """Return which row is unlike the first."""
    shapes = [_shape(row) for row in values]
    at = next((k for k, shape in enumerate(shapes) if shape != shapes[0]), 0)
    return f"example {at} has the shape {shapes[at]}, example 0 {shapes[0]}"


def _shape(row: Any) -> tuple[int, ...] | str:
    try:
        return tuple(np.shape(row))
    except ValueError:
        return "ragged"
