"""The shelf of optimisers: SGD, Adam, AdamW, RMSprop and Adagrad on named tensors, by hand.

Each does what ``torch.optim`` does with ``foreach=False``, operation by operation.  By hand a step
takes less time than a ``torch.optim`` object, and needs none to be built for every turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Lt

from fedsim.optimizers.optimizer import Optimizer, Slots
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SGD"]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Steps as those of ``torch.optim.SGD``, with momentum.

    References:
        Sutskever et al., "On the importance of initialization and momentum in deep learning",
        ICML 2013 (nesterov).
    """

    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """How much of the step before goes into the next."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Adds this times the weights to the gradients."""
    nesterov: bool = False
    """Whether momentum looks ahead, as Nesterov's does."""
    linear: ClassVar[bool] = True

    def slots(self, weights: Weights) -> Slots:
        """Return the momentum, which begins as the first gradients."""
        return {"velocity": {}} if self.momentum else {}

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` and the velocity in place; see :meth:`Optimizer.step`."""
        import torch

        if not gradients:
            return
        # Lists of tensors: on an accelerator one launch for all of them.
        slopes, moving = list(gradients.values()), [weights[name] for name in gradients]
        if self.weight_decay:
            torch._foreach_add_(slopes, moving, alpha=self.weight_decay)
        if self.momentum:
            velocity = slots["velocity"]
            if before := [velocity[name] for name in gradients if name in velocity]:
                torch._foreach_mul_(before, self.momentum)
                torch._foreach_add_(
                    before, [gradients[name] for name in gradients if name in velocity]
                )
            for name, slope in gradients.items():
                velocity.setdefault(name, slope)
            rolling = [velocity[name] for name in gradients]
            if self.nesterov:
                slopes = list(torch._foreach_add(slopes, rolling, alpha=self.momentum))
            else:
                slopes = rolling
        torch._foreach_add_(moving, slopes, alpha=-lr)

    def moved(
        self, values: Tensor, gradient: Tensor, velocity: Tensor | float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Return ``values`` and ``velocity`` after a step, without changing either.

        Product and difference are rounded one after the other, where :meth:`step` may fuse them:
        the last bits can differ.  There is no weight decay.
        """
        velocity = self.momentum * velocity + gradient
        return values - self.lr * velocity, velocity
