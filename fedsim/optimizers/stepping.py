"""An optimiser during one turn: its slots, and the size of each of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fedsim.optimizers.optimizer import Optimizer, Slots
from fedsim.wire import Weights

__all__ = ["Stepping"]


@dataclass
class Stepping:
    """Takes the steps of one turn; :meth:`start` comes first."""

    optimizer: Optimizer
    rates: Sequence[float]
    """The size of each step of the turn."""
    slots: Slots = field(default_factory=dict)
    number: int = 0
    """Steps behind ``slots``, those of earlier turns included."""
    taken: int = 0
    """Steps of this turn."""

    def start(self, weights: Weights) -> None:
        """Make the slots for ``weights``, the trained ones by name."""
        self.slots = self.optimizer.slots(weights)

    def step(self, weights: Weights, gradients: Weights) -> None:
        """Move ``weights`` in place; see :meth:`fedsim.optimizers.optimizer.Optimizer.step`."""
        self.number += 1
        lr = self.rates[self.taken]
        self.taken += 1
        self.optimizer.step(weights, gradients, self.slots, lr, self.number)
