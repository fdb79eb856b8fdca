"""From the arrays that files hold to those that a data set wants."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from fedsim.data.dataset import Array
from fedsim.errors import DataError, FedsimError

__all__ = ["as_inputs", "as_labels", "class_count", "numbered", "reading"]

_CHANNELS = (1, 3, 4)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a reader of files raises into one line that names the file.

    Raises:
        DataError: if the block raises anything but another error of fedsim's own.
    """
    if not path.exists():
        raise DataError(f"there is no {path}")
    try:
        yield
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except FedsimError:
        raise
    except Exception as error:  # Readers of foreign formats raise whatever their parsers do.
        said = str(error).strip().partition("\n")[0]
        raise DataError(f"{path} cannot be read: {said or type(error).__name__}") from error


def as_inputs(values: Array) -> Array:
    """Return ``values`` as uint8 or float32, images with their channels first.

    ``(n, height, width)`` becomes ``(n, 1, height, width)``, ``(n, height, width, c)`` with 1, 3
    or 4 channels becomes ``(n, c, height, width)``, and ``(n,)`` becomes ``(n, 1)``.

    Raises:
        DataError: if they are no numbers.
    """
    if values.dtype.kind not in "biuf":
        raise DataError(f"the inputs are {values.dtype}; they must be numbers")
    if values.dtype != np.uint8:
        values = values.astype(np.float32, copy=False)
    if values.ndim in (1, 3):
        return values[:, None]
    if values.ndim == 4 and values.shape[3] in _CHANNELS and values.shape[1] not in _CHANNELS:
        return np.ascontiguousarray(np.moveaxis(values, 3, 1))
    return values


def as_labels(values: Array) -> Array:
    """Return ``values`` as int64.

    Raises:
        DataError: if they are no integers.
    """
    if values.dtype.kind not in "biu":
        raise DataError(f"the labels are {values.dtype}; they must be integers from 0")
    return values.astype(np.int64)


def class_count(labels: Array, test_labels: Array | None, names: Sequence[str]) -> int:
    """Return how many classes there are: by name, or as many as the labels go up to."""
    present = [part for part in (labels, test_labels) if part is not None and len(part)]
    return max([len(names), *(int(part.max()) + 1 for part in present)])


def numbered(
    values: Array | None, test_values: Array | None, names: Sequence[str] = ()
) -> tuple[Array | None, Array | None, tuple[str, ...]]:
    """Return groups as integers from 0, those of the test split alike, and their names.

    Args:
        values: shape ``(n,)``, texts or numbers; None where there are no groups.
        test_values: shape ``(m,)``, or None.
        names: where given and the values are integers, value ``i`` has the name ``names[i]``.

    Raises:
        DataError: if an integer has no name.
    """
    if values is None:
        return None, None, ()
    both = values if test_values is None else np.concatenate([values, test_values])
    if names and both.dtype.kind in "biu":
        both = both.astype(np.int64)
        if both.min() < 0 or both.max() >= len(names):
            raise DataError(f"groups go from {both.min()} to {both.max()}, for {len(names)} names")
    else:
        found, both = np.unique(both, return_inverse=True)
        names = [str(name) for name in found]
    train, test = np.split(both, [len(values)])
    return train, None if test_values is None else test, tuple(names)
