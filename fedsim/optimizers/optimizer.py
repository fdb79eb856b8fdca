"""The contract of an optimiser of local training, and what may correct its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Gt

from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Correction", "Optimizer", "Slots", "StackableCorrection", "gradients_of"]

Correction = Callable[[Weights], None]
"""Changes a batch's gradients, by name and in place, before the step along them."""

Slots = dict[str, Weights]
"""What an optimiser remembers between steps: by the slot's name, then by the weight's."""


@dataclass(frozen=True)
class StackableCorrection:
    """A :data:`Correction` that several clients can make in one operation.

    Clients whose ``change`` is equal are stacked by ``torch.vmap``: what differs between them has
    to be in ``constants``.
    """

    change: Callable[[Weights, Weights, Weights], Weights]
    """From gradients, weights and constants to the gradients as they are to be; no argument
    is changed."""
    weights: Weights
    """The model's own, by name: they move with every step."""
    constants: Weights
    """What stays during the client's work."""

    def __call__(self, gradients: Weights) -> None:
        """Put the corrected gradients in the place of ``gradients``."""
        gradients.update(self.change(gradients, self.weights, self.constants))


@dataclass(frozen=True)
class Optimizer:
    """A rule for steps along gradients; its fields are what a scenario may set.

    A rule that treats each number by itself steps several clients at once as it stands: their
    weights are then stacked, `(clients, *shape)`.
    """

    lr: Annotated[float, Gt(0)] = 0.1
    """The step size, before schedule and decay."""
    linear: ClassVar[bool] = False
    """Whether a step is a linear function of all gradients so far: SCAFFOLD and FedNova need it."""
    stacks: ClassVar[bool] = True
    """Whether several clients can take a step as one."""
    keeps: ClassVar[bool] = True
    """Whether its slots are tensors, which a client can keep from round to round."""

    def slots(self, weights: Weights) -> Slots:
        """Return what is remembered before the first step; a slot may begin without weights.

        Args:
            weights: those that will be trained, by name.
        """
        return {}

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` and ``slots`` in place.

        Args:
            weights: those that move, and maybe others, by name.
            gradients: no two in the same memory; they may be changed, and kept in ``slots``.
            slots: as the step before left them.
            lr: the size of this step.
            number: of this step, from 1.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step")


def gradients_of(loss: Tensor, trained: Mapping[str, nn.Parameter]) -> Weights:
    """Return the gradients of ``loss``, no two in the same memory; none where it needs none."""
    import torch

    for parameter in trained.values():
        parameter.grad = None
    # Unlike autograd.grad, backward never hands one tensor to two parameters.
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in trained.items() if p.grad is not None}
