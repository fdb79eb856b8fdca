"""Several named arrays of inputs, as files or users' functions give them, as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fedsim.data.array_reading import as_inputs
from fedsim.data.dataset import Array
from fedsim.data.missing import Missing
from fedsim.data.records import padded, records_of
from fedsim.data.table import filled
from fedsim.errors import DataError

__all__ = ["NamedLayout", "Ragged", "named_records"]


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of several lengths, behind one another."""

    values: Array
    """Shape ``(sum of lengths, ...)``."""
    offsets: Array
    """Shape ``(n + 1,)``: where each row begins, and where the last one ends."""


class NamedLayout(Protocol):
    """What a scenario says of named inputs."""

    @property
    def missing(self) -> Missing:
        """What a NaN becomes."""
        ...

    @property
    def inputs_as(self) -> str:
        """``numbers`` where integers are amounts; else they are numbers of tokens or categories."""
        ...

    @property
    def length(self) -> int | None:
        """How many values of a row of several lengths a model is given."""
        ...


def named_records(source: NamedLayout, arrays: Mapping[str, Array | Ragged]) -> Array:
    """Return named inputs as records ``(n,)``.

    Integers but bytes are int64: tokens or categories, which are never normalised.  All else is
    laid out as a single array of inputs is.  Rows of several lengths are filled up with zeros to
    ``length``, and ``NAME_mask`` ``(n, length)``, float32, is 1 where a value is.

    Raises:
        DataError: if a name is none that a model could take, an array holds no numbers, or they
            do not fit together.
    """
    fields: dict[str, Array] = {}
    for name, values in arrays.items():
        if not name.isidentifier():
            raise DataError(f"{name!r} is no name of an argument, which an input needs")
        try:
            if isinstance(values, Ragged):
                fields |= _even(name, values, source)
            else:
                fields[name] = _field(values, source)
        except DataError as error:
            raise DataError(f"input '{name}': {error}", error.parameter) from error
    return records_of(fields)


def _even(name: str, ragged: Ragged, source: NamedLayout) -> dict[str, Array]:
    if source.length is None:
        message = "its rows have several lengths: say length, how many values a model is given"
        raise DataError(message, "length")
    rows = padded(ragged.values, ragged.offsets, source.length)
    there = padded(np.ones(len(ragged.values), np.float32), ragged.offsets, source.length)
    return {name: _field(rows, source), f"{name}_mask": there}


def _field(values: Array, source: NamedLayout) -> Array:
    is_number = values.dtype.kind in "iu" and values.dtype != np.uint8
    if is_number and source.inputs_as != "numbers":
        if values.size and values.min() < 0:
            remedy = "say inputs_as: numbers if they are amounts"
            raise DataError(f"it goes down to {values.min()}; tokens start from 0: {remedy}")
        return values.astype(np.int64)
    numbers = as_inputs(values)
    if source.missing == "mean" and numbers.dtype.kind == "f" and np.isnan(numbers).any():
        message = "means are filled in where inputs are one array alone: say missing: zero"
        raise DataError(message, "missing")
    return filled(numbers, None, source.missing, "it")[0]
