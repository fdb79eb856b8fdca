"""The examples that were asked for last, kept ready within a number of bytes."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from fedsim.client import Examples
from fedsim.data.dataset import Array
from fedsim.named_tensors import NamedTensors

__all__ = ["ClientCache"]

_SLAB = 1 << 22
_SMALL = 1 << 16
"""Arrays up to this size share slabs.  On their own they would lie between the large tensors that
every client's work makes and drops, whose room could then not be used again: a million small
clients would cost a hundred times what they hold."""

Key = int | str
"""Of whom the examples are."""

_INPUTS, _LABELS = np.dtype(np.float32), np.dtype(np.int64)


class ClientCache:
    """The most recently used examples, as arrays; whoever asks gets tensors that share them."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._entries: dict[Key, _Entry] = {}  # the oldest first
        self._shapes: dict[tuple[int, ...], tuple[int, ...]] = {}
        self._slab, self._used = np.empty(0, np.uint8), 0

    def get(self, key: Key) -> Examples | None:
        """Return what was put under ``key``, if it is still there."""
        if (entry := self._entries.pop(key, None)) is None:
            return None
        self._entries[key] = entry
        return _tensors(entry)

    def put(self, key: Key, examples: Examples) -> Examples:
        """Keep ``examples`` under ``key``, drop the oldest for them, and return what is kept."""
        weights = None if examples.weights is None else examples.weights.numpy()
        entry: _Entry
        if isinstance(examples.inputs, NamedTensors):
            entry = _NamedCache(examples)
        else:
            entry = self._kept(examples.inputs.numpy(), examples.labels.numpy(), weights)
        self._entries[key] = entry
        self._held += _bytes(entry)
        if self._held > self._most:
            self._drop()
        return _tensors(entry)

    def _drop(self) -> None:
        """Drop the oldest, a few at once: to find the first of a dict's keys may take long."""
        for key in [*self._entries]:
            if self._held <= self._most * 63 // 64:
                break
            self._held -= _bytes(self._entries.pop(key))

    def _kept(
        self, inputs: Array, labels: Array, weights: Array | None
    ) -> _WholeCache | _PackedCache:
        is_usual = (inputs.dtype, labels.dtype, labels.ndim) == (_INPUTS, _LABELS, 1)
        is_large = max(inputs.nbytes, labels.nbytes) > _SMALL
        if not is_usual or is_large or weights is not None:
            return _WholeCache(inputs, labels, weights)
        shape = self._shapes.setdefault(inputs.shape[1:], inputs.shape[1:])
        room = _room(inputs.nbytes) + _room(labels.nbytes)
        if self._used + room > len(self._slab):
            slab = np.empty(_SLAB + 64, np.uint8)
            first = -slab.ctypes.data % 64
            self._slab, self._used = slab[first : first + _SLAB], 0
        entry = _PackedCache(self._slab, self._used, len(labels), shape)
        self._used += room
        for view, array in zip(entry.arrays()[:2], (inputs, labels), strict=True):
            view[...] = array
        return entry


class _WholeCache(NamedTuple):
    """Large arrays, and unusual ones, as they came."""

    inputs: Array
    labels: Array
    weights: Array | None

    def arrays(self) -> tuple[Array, Array, Array | None]:
        return self.inputs, self.labels, self.weights


class _PackedCache(NamedTuple):
    """Where small arrays lie.  Views of their own would take more room than most of them do."""

    slab: Array
    start: int
    examples: int
    shape: tuple[int, ...]
    """Of one example."""

    def arrays(self) -> tuple[Array, Array, None]:
        size = self.examples * math.prod(self.shape) * _INPUTS.itemsize
        inputs = self.slab[self.start : self.start + size].view(_INPUTS)
        at = self.start + _room(size)
        labels = self.slab[at : at + self.examples * _LABELS.itemsize].view(_LABELS)
        return inputs.reshape(self.examples, *self.shape), labels, None


class _NamedCache(NamedTuple):
    """Inputs that are several tensors."""

    examples: Examples


_Entry = _WholeCache | _PackedCache | _NamedCache


def _room(size: int) -> int:
    return -(-size // 64) * 64  # where vector instructions like it


def _tensors(entry: _Entry) -> Examples:
    import torch

    if isinstance(entry, _NamedCache):
        return entry.examples
    inputs, labels, weights = entry.arrays()
    return Examples(
        torch.from_numpy(inputs),
        torch.from_numpy(labels),
        None if weights is None else torch.from_numpy(weights),
    )


def _bytes(entry: _Entry) -> int:
    if isinstance(entry, _NamedCache):
        return entry.examples.inputs.nbytes + entry.examples.labels.nbytes
    return sum(array.nbytes for array in entry.arrays() if array is not None)
