"""SGD that tells how many steps its delta is worth, as FedNova asks of its clients.

References:
    Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020, arXiv:2007.07481.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from fedsim.client import Examples, Seat
from fedsim.clients._reach import reach
from fedsim.clients.proximal import Proximal, strength
from fedsim.wire import Task, Update

__all__ = ["Normalized"]


@dataclass(frozen=True)
class Normalized(Proximal):
    """Proximal SGD whose update carries ``a_i`` as the extra ``steps``."""

    def train(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Train, and say how many plain steps that came to."""
        return self._weighed(super().train(model, examples, task, draws), task)

    def train_together(self, model: nn.Module, seats: Sequence[Seat]) -> list[Update]:
        """Do the same for several clients in the same steps."""
        updates = super().train_together(model, seats)
        return [
            self._weighed(update, seat.task) for update, seat in zip(updates, seats, strict=True)
        ]

    def _weighed(self, update: Update, task: Task) -> Update:
        # Without a step there is a zero delta, which the server can still divide by one.
        count = max(1, self.step_count(update.examples))
        steps = reach(count, self.momentum, self.rate(task) * strength(task))
        worth = {"steps": torch.tensor(steps, dtype=torch.float64)}
        return replace(update, extras={"steps": worth})
