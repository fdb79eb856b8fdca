"""One client's term on its way into an exact sum: all its tensors one behind another.

Large tensors that are zero in every term, as those of layers that are not trained, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, groupby
from typing import TYPE_CHECKING

from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Size, Tensor

__all__ = ["Layout", "TermBuffer", "layout_of"]

LARGE = 4096
"""Numbers in a tensor from which on it pays to see whether all of them are zero."""

Layout = tuple[tuple[str, "Size"], ...]
"""Names and shapes of a term's tensors, in the order of their names."""


def layout_of(value: Weights) -> Layout:
    """Return how ``value`` is laid out."""
    return tuple((name, tensor.shape) for name, tensor in sorted(value.items()))


class TermBuffer:
    """Room for one term, `(numbers,)` float64, and which of its tensors were ever not zero."""

    def __init__(self, layout: Layout) -> None:
        import torch

        self.layout = layout
        sizes = [math.prod(shape) for _, shape in layout]
        self.term = torch.zeros(sum(sizes), dtype=torch.float64)
        parts = zip(torch.split(self.term, sizes), layout, strict=True)
        self._places = [part.view(shape) for part, (_, shape) in parts]
        self._starts = [0, *accumulate(sizes)]
        self._moved = [False] * len(sizes)
        self.runs: list[slice] = []
        """Where in ``term`` the tensors lie that were not zero in some term."""
        self._largest: int | None = None  # the largest tensor, once all were moved

    def moved_by(self, values: Sequence[Tensor]) -> list[bool]:
        """Return for each tensor of a term whether it may hold anything but zeros."""
        # Most terms are like this; Python's own steps are dear between passes over so much memory.
        if self._largest is not None and _is_moved(values[self._largest]):
            return self._moved
        return _moved(values)

    def is_wider(self, is_nonzero: Sequence[bool]) -> bool:
        """Return whether a term moves tensors that none before it did."""
        return any(new and not old for new, old in zip(is_nonzero, self._moved, strict=True))

    def widen(self, is_nonzero: Sequence[bool]) -> None:
        """Take into account which tensors a term has moved."""
        self._moved = [new or old for new, old in zip(is_nonzero, self._moved, strict=True)]
        # Neighbours that moved make one run: a few long passes over memory, not many short ones.
        groups = groupby(range(len(is_nonzero)), key=self._moved.__getitem__)
        tensors = [list(group) for is_moved, group in groups if is_moved]
        self.runs = [slice(self._starts[of[0]], self._starts[of[-1] + 1]) for of in tensors]
        if all(self._moved):
            self._largest = max(range(len(is_nonzero)), key=lambda at: self._places[at].numel())

    def fill(self, values: Sequence[Tensor]) -> None:
        """Copy a term's tensors to their places."""
        for place, value, is_moved in zip(self._places, values, self._moved, strict=True):
            if is_moved:
                place.copy_(value)


def _moved(values: Sequence[Tensor]) -> list[bool]:
    """Return for each tensor whether it may hold anything but zeros.

    Small ones are looked at where a large one holds nothing else.
    """
    large = {at: _is_moved(value) for at, value in enumerate(values) if value.numel() >= LARGE}
    if all(large.values()):
        return [True] * len(values)
    return [large[at] if at in large else _is_moved(v) for at, v in enumerate(values)]


def _is_moved(value: Tensor) -> bool:
    import torch

    if value.dtype not in (torch.float32, torch.float64) or not value.is_cpu:
        return True
    numbers = value.detach().numpy().reshape(-1)
    # Where anything moved, the first few numbers mostly did: NumPy would look at all of them.
    return bool(numbers[:LARGE].any() or numbers.any())
