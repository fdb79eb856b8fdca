"""What a model made of a batch of examples, before it is summed, and what sums it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ScoredBatch", "Statistic"]


@dataclass(frozen=True)
class ScoredBatch:
    """What a model made of a batch of ``n`` examples."""

    predictions: Mapping[str, Tensor]
    """By what they are, such as ``labels`` `(n,)` or ``logits`` `(n, classes)`."""
    targets: Tensor
    """Shape `(n, ...)`, as the data has them."""
    total_loss: Tensor
    """The sum of the examples' losses, each times its weight, a float64 number."""
    units: Tensor
    """The sum of what they are sums over, each times its weight, a float64 number: examples, or
    tokens."""
    weights: Tensor | None = None
    """Shape `(n,)`, float64: the examples' weights; None: all 1."""


class Statistic(Protocol):
    """Maps a batch to sums; what it has to know, such as the classes, is in its fields."""

    @property
    def name(self) -> str:
        """What its sums' names begin with."""
        ...

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return int64 counts or float64 sums, of shapes that no batch changes."""
        ...
