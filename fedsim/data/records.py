"""Several named arrays of inputs as one array of records, so that a row is an example.

A data set of several inputs has a NumPy structured array, with a field for each: it is split, put
in order and mapped into memory as any other array is.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np

from fedsim.data.dataset_checks import Array, names_in
from fedsim.errors import DataError
from fedsim.named_tensors import NamedShapes

__all__ = ["example_shape", "fields_of", "flat_shape", "padded", "records_of", "sizes_in"]


def records_of(arrays: Mapping[str, Array]) -> Array:
    """Return named arrays with a row for each example, ``(n, ...)``, as records ``(n,)``.

    Raises:
        DataError: if they are not equally long, or one is of another type than uint8, float32
            and int64.
    """
    lengths = {name: len(array) for name, array in arrays.items()}
    if len({*lengths.values()}) > 1:
        counts = ", ".join(f"{name} {count}" for name, count in lengths.items())
        raise DataError(f"the inputs are not equally long: {counts}")
    kinds = [(name, array.dtype, array.shape[1:]) for name, array in arrays.items()]
    records = np.empty(next(iter(lengths.values())), np.dtype(kinds))
    for name, array in arrays.items():
        records[name] = array
    return records


def fields_of(records: Array) -> dict[str, Array]:
    """Return the arrays that :func:`records_of` took, as views."""
    return {name: records[name] for name in names_in(records)}


def example_shape(inputs: Array, sizes: Mapping[str, int]) -> tuple[int, ...] | NamedShapes:
    """Return the shape of one example, or that of each field of records.

    Args:
        inputs: ``(n, *features)``, or records ``(n,)``.
        sizes: of fields of integers, as :func:`sizes_in` gives them.
    """
    if not names_in(inputs):
        return inputs.shape[1:]
    fields = fields_of(inputs)
    return NamedShapes(
        {name: array.shape[1:] for name, array in fields.items()},
        {name: array.dtype.name for name, array in fields.items()},
        sizes,
    )


def flat_shape(shape: tuple[int, ...] | NamedShapes) -> tuple[int, ...]:
    """Return the shape of one example; of several inputs, how many numbers they are."""
    return shape if isinstance(shape, tuple) else (sum(prod(part) for part in shape.values()),)


def sizes_in(inputs: Array, test_inputs: Array) -> dict[str, int]:
    """Return one more than the largest number of each field of integers, in both splits."""
    parts = [part for part in (inputs, test_inputs) if len(part)]
    names = [name for name in names_in(inputs) if inputs[name].dtype == np.int64]
    return {name: 1 + max(int(part[name].max(initial=0)) for part in parts) for name in names}


def padded(values: Array, offsets: Array, length: int) -> Array:
    """Return rows of several lengths as one array ``(n, length, ...)``, filled up with zeros.

    What is beyond ``length`` is cut off.

    Args:
        values: all rows behind one another, ``(sum of lengths, ...)``.
        offsets: where each row begins, and where the last one ends, ``(n + 1,)``.
        length: of every row, whatever a batch holds: shapes must not depend on company.

    Raises:
        DataError: if the offsets do not fit the values.
    """
    is_sound = offsets.ndim == 1 and len(offsets) > 1 and offsets.dtype.kind in "iu"
    if not is_sound or offsets[0] != 0 or offsets[-1] != len(values):
        raise DataError(f"offsets go from 0 to the number of values, {len(values)}")
    sizes = np.diff(offsets.astype(np.int64))
    if (sizes < 0).any():
        raise DataError("offsets go down, where each row begins behind the one before")
    rows: Array = np.zeros((len(sizes), length, *values.shape[1:]), values.dtype)
    for at, size in enumerate(np.minimum(sizes, length)):
        rows[at, :size] = values[offsets[at] : offsets[at] + size]
    return rows
