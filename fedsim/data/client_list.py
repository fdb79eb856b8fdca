"""What a server may know of each client, of all that there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, overload

import numpy as np

from fedsim.data.dataset import Array
from fedsim.wire import ClientInfo

__all__ = ["ClientList", "train_sizes", "training_rows"]


def train_sizes(offsets: Array) -> Array:
    """Return how many training examples each client has, of where the parts begin."""
    return offsets[1::3] - offsets[:-1:3]  # not diff()[::3], a view that keeps the rest alive


def training_rows(offsets: Array) -> tuple[Array, Array]:
    """Return whose each training example is, and its row, both ``(n,)``."""
    part = np.repeat(np.arange(len(offsets) - 1) % 3, np.diff(offsets))
    owner = np.repeat(np.arange(len(offsets) // 3), train_sizes(offsets))
    return owner, np.flatnonzero(part == 0)


class ClientList(Sequence[ClientInfo]):
    """What a server may know of each client, made when asked for: a million cost nothing."""

    def __init__(self, arrays: Mapping[str, Array], domain_names: tuple[str, ...]) -> None:
        self._sizes = train_sizes(arrays["offsets"])
        # As plain arrays: a memory-mapped one takes three times as long to give one number.
        self._domain = np.asarray(arrays["domain"])
        self._target = np.asarray(arrays["target"])
        self._names = (*domain_names, "")  # -1, no domain, is the last.

    def __len__(self) -> int:
        return len(self._sizes)

    @overload
    def __getitem__(self, at: int) -> ClientInfo: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[ClientInfo]: ...
    def __getitem__(self, at: int | slice) -> ClientInfo | Sequence[ClientInfo]:
        if isinstance(at, slice):
            return [self[k] for k in range(*at.indices(len(self)))]
        which = at if 0 <= at < len(self) else range(len(self))[at]
        role: Literal["source", "target"] = "target" if self._target[which] else "source"
        return ClientInfo(which, int(self._sizes[which]), self._names[self._domain[which]], role)
