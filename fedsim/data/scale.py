"""Centre and spread of the training examples, which all inputs are normalised by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedsim.data.dataset import Array
from fedsim.data.dataset_checks import names_in

__all__ = [
    "Scaling",
    "columns_of",
    "fitted",
    "flat_is_one",
    "joined_scales",
    "plain",
    "width_of",
]

_BLOCK = 1 << 22
"""Numbers that are turned to float64 at once: 32 MiB."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """What to subtract and what to divide by, per channel of an image or column of a table."""

    centre: Array
    """Shape ``(channels,)``, float32; or ``(clients + 1, channels)`` where each client has its
    own, and the server the last."""
    spread: Array
    """Of the same shape, never 0."""

    def normalised(self, inputs: Array, owner: int | Array = -1) -> Array:
        """Return ``(inputs - centre) / spread`` as a new float32 array of the same shape.

        Token ids (int64) are copied as they are.

        Args:
            inputs: shape ``(n, channels, ...)``.
            owner: which client's they are, or that of each, ``(n,)``; -1: the server's.
        """
        if inputs.dtype == np.int64:
            return np.array(inputs)
        out: Array = np.array(inputs, dtype=np.float32)
        centre, spread = self.centre, self.spread
        if centre.ndim == 2:
            centre, spread = centre[owner], spread[owner]
        along = (*centre.shape, *(1,) * (inputs.ndim - 2))
        out -= centre.reshape(along)
        out /= spread.reshape(along)
        return out

    def normalised_fields(self, records: Array, owner: int | Array = -1) -> dict[str, Array]:
        """Return each field of ``records`` as :meth:`normalised` does, by its name.

        The numbers for the fields stand behind one another, in their order.
        """
        fields, first = {}, 0
        for name in names_in(records):
            stop = first + width_of(records[name])
            own = Scaling(self.centre[..., first:stop], self.spread[..., first:stop])
            fields[name], first = own.normalised(records[name], owner), stop
        return fields


def width_of(inputs: Array) -> int:
    """Return how many channels or columns inputs ``(n, channels, ...)`` have."""
    return inputs.shape[1] if inputs.ndim > 1 else 1


def joined_scales(scales: Sequence[Scaling]) -> Scaling:
    """Return the numbers of several fields behind one another."""
    rows = max(scale.centre.ndim for scale in scales)
    length = max(len(scale.centre) for scale in scales if scale.centre.ndim == rows)

    def joined(parts: Sequence[Array]) -> Array:
        if rows == 1:
            return np.concatenate(parts)
        # What is the same for all, as of token ids, is repeated beside each client's own.
        each = [np.broadcast_to(part, (length, part.shape[-1])) for part in parts]
        return np.concatenate(each, axis=1)

    return Scaling(joined([s.centre for s in scales]), joined([s.spread for s in scales]))


def plain(inputs: Array) -> Scaling:
    """Return the scale that takes bytes to [0, 1] and leaves floats alone."""
    width = inputs.shape[1] if inputs.ndim > 1 else 1
    by = 255 if inputs.dtype == np.uint8 else 1
    return Scaling(np.zeros(width, np.float32), np.full(width, by, np.float32))


def fitted(inputs: Array, offsets: Array) -> Scaling:
    """Return the mean and the standard deviation of all clients' training parts together.

    They are public constants of the simulation, as the published means of CIFAR-10 are: no
    client computes them and no privacy budget pays for them.

    A channel that does not vary is centred only.  A column of a table that holds nothing but 0
    and 1 (a one-hot) is left as it is: a category that one person in 30,000 has would be 170
    standard deviations away, and one step on it would wreck a model.

    Args:
        inputs: shape ``(n, channels, ...)``, in the order of their owners.
        offsets: shape ``(3 * clients + 1,)``; every third part is a training part.
    """
    if inputs.dtype == np.int64:  # token ids
        return plain(inputs)
    width = inputs.shape[1] if inputs.ndim > 1 else 1
    blocks = _training_blocks(inputs, offsets)
    total, count, binary = np.zeros(width), 0, np.full(width, inputs.ndim == 2)
    for block in blocks:
        columns = columns_of(block, width)
        total += columns.sum(axis=0)
        count += len(columns)
        if binary.any():
            binary &= ((columns == 0) | (columns == 1)).all(axis=0)
    mean = total / count
    squares = np.zeros(width)
    for block in blocks:
        squares += np.square(columns_of(block, width) - mean).sum(axis=0)
    return flat_is_one(mean, np.sqrt(squares / count), binary)


def flat_is_one(mean: Array, spread: Array, binary: Array) -> Scaling:
    """Return the scale, with a spread of 1 where nothing varies; one-hots are left as they are.

    Args:
        mean: float64, ``(channels,)``.
        spread: the standard deviation, likewise.
        binary: which are one-hots, likewise.
    """
    mean, spread = mean.copy(), spread.copy()
    # Less variation than float32 can tell from rounding is none.
    spread[spread <= 1e-6 * np.abs(mean)] = 1
    mean[binary], spread[binary] = 0, 1
    return Scaling(mean.astype(np.float32), spread.astype(np.float32))


def _training_blocks(inputs: Array, offsets: Array) -> list[Array]:
    """Return views of the training rows, no view much larger than a block."""
    rows = max(1, _BLOCK // max(1, int(np.prod(inputs.shape[1:]))))
    starts, stops = offsets[:-1:3], offsets[1::3]
    # Training parts that follow one another without a gap are one run of rows.
    gap = np.flatnonzero(starts[1:] != stops[:-1])
    runs = zip(starts[np.r_[0, gap + 1]], stops[np.r_[gap, len(stops) - 1]], strict=True)
    return [
        inputs[i : min(i + rows, stop)] for start, stop in runs for i in range(start, stop, rows)
    ]


def columns_of(block: Array, width: int) -> Array:
    """Return ``block`` as float64 of shape ``(everything else, channels)``."""
    flat = block.reshape(len(block), width, -1).astype(np.float64)
    return flat.transpose(0, 2, 1).reshape(-1, width)
