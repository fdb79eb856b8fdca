"""SGD that tells how many steps its delta is worth, as FedNova asks of its clients.

References:
    Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020, arXiv:2007.07481.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from fedsim.client import Examples, StackedClient
from fedsim.clients.proximal import Proximal, strength
from fedsim.clients.sgd import Sgd
from fedsim.messages import EffectiveSteps
from fedsim.optimizers.distance import distance
from fedsim.optimizers.update_rules import SGD
from fedsim.wire import Instruction, Update

__all__ = ["RESTS", "Normalized", "effective_steps", "steps_of", "steps_taken"]


RESTS = (("state", "what its steps are worth is known only where they start from rest"),)
"""Why a rule that counts its steps cannot keep the optimiser's state."""


@dataclass(frozen=True)
class Normalized(Proximal):
    """Proximal SGD whose update carries ``a_i`` as the extra ``steps``."""

    linear_for: ClassVar[str] = "fednova"
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = RESTS

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Train, and say how many plain steps that came to."""
        return self._weighed(super().train(model, examples, instruction, generator), instruction)

    def train_together(self, model: nn.Module, members: Sequence[StackedClient]) -> list[Update]:
        """Do the same for several clients in the same steps."""
        updates = super().train_together(model, members)
        return [
            self._weighed(update, member.instruction)
            for update, member in zip(updates, members, strict=True)
        ]

    def _weighed(self, update: Update, instruction: Instruction) -> Update:
        # Without a step there is a zero delta, which the server can still divide by one.
        mu, taken = strength(instruction), steps_taken(self, update)
        steps = steps_of(self, instruction, update.examples, mu, taken)
        worth = EffectiveSteps.of(torch.tensor(steps, dtype=torch.float64))
        return replace(update, extras=worth.to_extras())


def steps_taken(rule: Sgd, update: Update) -> int | None:
    """Return how many steps led to an update where its turn may have ended early, else None."""
    is_known = rule.stop is not None and "steps" in update.metrics
    return int(update.metrics["steps"]) if is_known else None


def steps_of(
    rule: Sgd,
    instruction: Instruction,
    examples: int,
    mu: float = 0.0,
    taken: int | None = None,
) -> float:
    """Return how many plain steps of this round's size the steps of a turn are worth.

    Args:
        rule: what is done.
        instruction: of the turn.
        examples: how many the client holds; without any it counts as one step.
        mu: strength of the proximal term.
        taken: how many steps there were; None: all that the turn has.

    Raises:
        RunError: if the optimiser's steps are not linear in the gradient.
    """
    optimizer, rate = rule.local_optimizer(), rule.rate(instruction)
    if isinstance(optimizer, SGD) and not optimizer.nesterov and rule.schedule is None:
        count = max(1, rule.step_count(examples) if taken is None else taken)
        return effective_steps(count, optimizer.momentum, rate * mu)
    rates = rule.rates(instruction, examples)[:taken]
    return distance(optimizer, rates or [rate], mu) / rate


def effective_steps(steps: int, momentum: float = 0.0, pull: float = 0.0) -> float:
    """Return how far ``steps`` steps go along a gradient that stays one, at a rate of one.

    This is the 1-norm of FedNova's ``a_i``, in closed form ``steps`` for plain SGD,
    ``(steps - m (1 - m^steps) / (1 - m)) / (1 - m)`` with momentum ``m``, and
    ``(1 - (1 - pull)^steps) / pull`` with a proximal term; taking the steps covers all three,
    and both at once.

    Args:
        steps: how many there are.
        momentum: of the steps.
        pull: the step size times the strength of the proximal term.
    """
    place = velocity = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1 - pull * place
        place += velocity
    return place
