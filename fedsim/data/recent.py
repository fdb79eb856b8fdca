"""The examples that were asked for last, kept ready within a number of bytes."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from fedsim.client import Examples
from fedsim.data.dataset import Array

__all__ = ["Recent"]

_SLAB = 1 << 22
_SMALL = 1 << 16
"""Arrays up to this size share slabs.  On their own they would lie between the large tensors that
every turn makes and drops, whose room could then not be used again: a million small clients would
cost a hundred times what they hold."""


class Recent:
    """The most recently used examples, as arrays; whoever asks gets tensors that share them."""

    def __init__(self, most: int) -> None:
        self._most, self._held = most, 0
        self._entries: OrderedDict[tuple[int, str], tuple[Array, Array]] = OrderedDict()
        self._slab, self._used = np.empty(0, np.uint8), 0

    def get(self, key: tuple[int, str]) -> Examples | None:
        """Return what was put under ``key``, if it is still there."""
        if (found := self._entries.get(key)) is None:
            return None
        self._entries.move_to_end(key)
        return _tensors(*found)

    def put(self, key: tuple[int, str], examples: Examples) -> Examples:
        """Keep ``examples`` under ``key``, drop the oldest for them, and return what is kept."""
        kept = self._moved(examples.inputs.numpy()), self._moved(examples.labels.numpy())
        self._entries[key] = kept
        self._held += _bytes(kept)
        while self._held > self._most:
            self._held -= _bytes(self._entries.popitem(last=False)[1])
        return _tensors(*kept)

    def _moved(self, array: Array) -> Array:
        if array.nbytes > _SMALL:
            return array
        room = -(-array.nbytes // 64) * 64  # where vector instructions like it
        if self._used + room > len(self._slab):
            slab = np.empty(_SLAB + 64, np.uint8)
            first = -slab.ctypes.data % 64
            self._slab, self._used = slab[first : first + _SLAB], 0
        at, self._used = self._used, self._used + room
        view: Array = self._slab[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        view[...] = array
        return view


def _tensors(inputs: Array, labels: Array) -> Examples:
    import torch

    return Examples(torch.from_numpy(inputs), torch.from_numpy(labels))


def _bytes(kept: tuple[Array, Array]) -> int:
    return kept[0].nbytes + kept[1].nbytes
