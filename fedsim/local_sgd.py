"""The optimiser of all local training: SGD with momentum, and what may correct its gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["Correction", "LocalSgd", "StackableCorrection", "gradients_of"]

Correction = Callable[[Weights], None]
"""Changes a batch's gradients, by name and in place, before the step along them."""


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
class LocalSgd:
    """Steps as those of ``torch.optim.SGD``, which start from rest."""

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0

    def step(self, weights: Weights, gradients: Weights, velocity: Weights) -> None:
        """Move ``weights`` in place.

        Args:
            weights: those that move, and maybe others, by name.
            gradients: no two in the same memory; they may be changed, and kept in ``velocity``.
            velocity: the momentum after the steps before; empty before the first.
        """
        import torch

        if not gradients:
            return
        # Lists of tensors: on an accelerator one launch for all of them.
        slopes, moving = list(gradients.values()), [weights[name] for name in gradients]
        if self.weight_decay:
            torch._foreach_add_(slopes, moving, alpha=self.weight_decay)
        if self.momentum:
            if before := [velocity[name] for name in gradients if name in velocity]:
                torch._foreach_mul_(before, self.momentum)
                torch._foreach_add_(
                    before, [gradients[name] for name in gradients if name in velocity]
                )
            for name, slope in gradients.items():
                velocity.setdefault(name, slope)
            slopes = [velocity[name] for name in gradients]
        torch._foreach_add_(moving, slopes, alpha=-self.lr)

    def moved(
        self, values: Tensor, gradient: Tensor, velocity: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return ``values`` and ``velocity`` after a step, without changing either.

        Product and difference are rounded one after the other, where :meth:`step` may fuse them:
        the last bits can differ.  There is no weight decay.
        """
        velocity = self.momentum * velocity + gradient
        return values - self.lr * velocity, velocity


def gradients_of(loss: Tensor, trained: Mapping[str, nn.Parameter]) -> Weights:
    """Return the gradients of ``loss``, no two in the same memory; none where it needs none."""
    import torch

    for parameter in trained.values():
        parameter.grad = None
    # Unlike autograd.grad, backward never hands one tensor to two parameters.
    torch.autograd.backward(loss)
    return {name: p.grad for name, p in trained.items() if p.grad is not None}
