"""SGD along controlled gradients, as SCAFFOLD asks of its clients.

References:
    Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging
    for Federated Learning", ICML 2020, arXiv:1910.06378, Algorithm 1, Option II.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from fedsim.client import Examples, StackedClient
from fedsim.clients.normalized import RESTS, steps_of, steps_taken
from fedsim.clients.sgd import Sgd
from fedsim.messages import ControlVariate
from fedsim.optimizers.optimizer import Correction, StackableCorrection
from fedsim.wire import Instruction, Update, Weights

__all__ = ["Controlled"]

OURS = "control"
"""Where a client keeps ``c_i`` between its turns."""


@dataclass(frozen=True)
class Controlled(Sgd):
    """SGD along ``g - c_i + c``; what the client keeps between its turns is ``c_i``.

    Where the server sends no ``c`` it is SGD.
    """

    linear_for: ClassVar[str] = "scaffold"
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = RESTS

    def correction(self, instruction: Instruction, weights: Weights) -> Correction | None:
        """Return what adds ``c - c_i`` to the gradients (line 10)."""
        if not ControlVariate.is_in(instruction.broadcast):
            return None
        ours, theirs = _controls(instruction)
        shift = {
            name: (theirs[name] - ours[name]).to(weight.device) for name, weight in weights.items()
        }
        return StackableCorrection(_shifted, weights, shift)

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Train, then set ``c_i+ = c_i - c + (x - y_i) / (K lr)`` (line 12) and send its change.

        With momentum or a schedule the steps add up to more or fewer than ``K`` gradients, and
        ``K`` is what :func:`~fedsim.clients.normalized.steps_of` counts, so that ``c_i`` is a mean
        of (clipped) gradients still.
        """
        return self._controlled(super().train(model, examples, instruction, generator), instruction)

    def train_together(self, model: nn.Module, members: Sequence[StackedClient]) -> list[Update]:
        """Do the same for several clients in the same steps."""
        updates = super().train_together(model, members)
        return [
            self._controlled(update, member.instruction)
            for update, member in zip(updates, members, strict=True)
        ]

    def _controlled(self, update: Update, instruction: Instruction) -> Update:
        if not ControlVariate.is_in(instruction.broadcast):
            return update
        ours, theirs = _controls(instruction)
        worth, taken = 0.0, steps_taken(self, update)
        if update.examples:
            worth = steps_of(self, instruction, update.examples, taken=taken)
        if not worth:
            change = {name: torch.zeros_like(control) for name, control in ours.items()}
        else:
            scale = -1 / (self.rate(instruction) * worth)
            change = {name: update.delta[name] * scale - c for name, c in theirs.items()}
        updated = {name: ours[name] + change[name] for name in change}
        return replace(update, extras=ControlVariate(change).to_extras(), memory={OURS: updated})


def _shifted(gradients: Weights, weights: Weights, shift: Weights) -> Weights:
    return {name: gradient + shift[name] for name, gradient in gradients.items()}


def _controls(instruction: Instruction) -> tuple[Weights, Weights]:
    """Return ``c_i``, at first zero, and ``c``, on the device of ``c``."""
    theirs = ControlVariate.from_broadcast(instruction.broadcast).control
    stored = instruction.memory.get(OURS, {})
    ours = {
        name: stored[name].to(control.device) if stored else torch.zeros_like(control)
        for name, control in theirs.items()
    }
    return ours, theirs
