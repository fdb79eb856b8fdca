"""An optimiser during one turn: its slots, and the size of each of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fedsim.errors import RunError
from fedsim.optimizers.optimizer import Optimizer, Slots
from fedsim.wire import Weights

__all__ = ["Stepping"]

MEMORY = "optimizer"
"""Under this name, and with a point under each slot's, a client keeps an optimiser's state."""


@dataclass
class Stepping:
    """Takes the steps of one turn; :meth:`start` comes first."""

    optimizer: Optimizer
    rates: Sequence[float]
    """The size of each step of the turn."""
    memory: Mapping[str, Weights] = field(default_factory=dict)
    """What the client kept of its last turn; where nothing, the steps start from rest."""
    slots: Slots = field(default_factory=dict)
    number: int = 0
    """Steps behind ``slots``, those of earlier turns included."""
    taken: int = 0
    """Steps of this turn."""

    def start(self, weights: Weights) -> None:
        """Make the slots for ``weights``, the trained ones by name, or take what was kept."""
        self.slots = self.optimizer.slots(weights)
        if MEMORY not in self.memory:
            return
        self.number = int(self.memory[MEMORY]["steps"])
        for slot, values in self.slots.items():
            kept_values = self.memory.get(f"{MEMORY}.{slot}", {})
            values.update({name: value.clone() for name, value in kept_values.items()})

    def step(self, weights: Weights, gradients: Weights) -> None:
        """Move ``weights`` in place; see :meth:`fedsim.optimizers.optimizer.Optimizer.step`."""
        self.number += 1
        lr = self.rates[self.taken]
        self.taken += 1
        self.optimizer.step(weights, gradients, self.slots, lr, self.number)

    def kept(self) -> dict[str, Weights]:
        """Return what the client keeps of this turn for its next.

        Raises:
            RunError: if the optimiser's state is no tensors.
        """
        import torch

        if not self.optimizer.keeps:
            name = type(self.optimizer).__name__
            raise RunError(f"state: keep: what {name} remembers cannot be kept from turn to turn")
        slots = {f"{MEMORY}.{slot}": values for slot, values in self.slots.items() if values}
        return {MEMORY: {"steps": torch.tensor([self.number])}, **slots}
