"""The shelf of optimisers: SGD, Adam, AdamW, RMSprop and Adagrad on named tensors, by hand.

Each does what ``torch.optim`` does with ``foreach=False``, operation by operation.  By hand a step
takes less time than a ``torch.optim`` object, and needs none to be built for every turn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

from fedsim.optimizers.optimizer import Optimizer, Slots
from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SGD", "Adagrad", "Adam", "Adamw", "Rmsprop"]


Betas = tuple[Annotated[float, Ge(0), Lt(1)], Annotated[float, Ge(0), Lt(1)]]


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


@dataclass(frozen=True)
class Adam(Optimizer):
    """Steps as those of ``torch.optim.Adam``: gradients over the root of their mean square.

    References:
        Kingma, Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015, Algorithm 1.
    """

    lr: Annotated[float, Gt(0)] = 0.001
    """The step size, before schedule and decay."""
    betas: Betas = (0.9, 0.999)
    """How much of the means of gradients and of their squares stays at each step."""
    eps: Annotated[float, Gt(0)] = 1e-8
    """Added to the root, so that nothing is divided by zero."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Adds this times the weights to the gradients."""

    def slots(self, weights: Weights) -> Slots:
        """Return zeros for both means."""
        return {"exp_avg": _zeros(weights), "exp_avg_sq": _zeros(weights)}

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` and both means in place; see :meth:`Optimizer.step`."""
        import torch

        if not gradients:
            return
        slopes, moving = list(gradients.values()), [weights[name] for name in gradients]
        self._decay(moving, slopes, lr)
        means = [slots["exp_avg"][name] for name in gradients]
        squares = [slots["exp_avg_sq"][name] for name in gradients]
        first, second = self.betas
        torch._foreach_lerp_(means, slopes, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, slopes, slopes, 1 - second)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, (1 - second**number) ** 0.5)
        torch._foreach_add_(roots, self.eps)
        torch._foreach_addcdiv_(moving, means, roots, -lr / (1 - first**number))

    def _decay(self, moving: list[Tensor], slopes: list[Tensor], lr: float) -> None:
        import torch

        if self.weight_decay:
            torch._foreach_add_(slopes, moving, alpha=self.weight_decay)


@dataclass(frozen=True)
class Adamw(Adam):
    """Steps as those of ``torch.optim.AdamW``: the weights decay beside the gradients.

    References:
        Loshchilov, Hutter, "Decoupled Weight Decay Regularization", ICLR 2019, Algorithm 2.
    """

    weight_decay: Annotated[float, Ge(0)] = 0.01
    """The share of the weights, times the step size, that each step takes away."""

    def _decay(self, moving: list[Tensor], slopes: list[Tensor], lr: float) -> None:
        import torch

        if self.weight_decay:
            torch._foreach_mul_(moving, 1 - lr * self.weight_decay)


@dataclass(frozen=True)
class Rmsprop(Optimizer):
    """Steps as those of ``torch.optim.RMSprop``, not centred.

    References:
        Tieleman, Hinton, "Lecture 6.5: RMSprop", Coursera, 2012.
    """

    lr: Annotated[float, Gt(0)] = 0.01
    """The step size, before schedule and decay."""
    alpha: Annotated[float, Ge(0), Lt(1)] = 0.99
    """How much of the mean of the squares stays at each step."""
    eps: Annotated[float, Gt(0)] = 1e-8
    """Added to the root, so that nothing is divided by zero."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """How much of the step before goes into the next."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Adds this times the weights to the gradients."""

    def slots(self, weights: Weights) -> Slots:
        """Return zeros for the mean of the squares, and for the momentum if there is any."""
        moving = {"momentum": _zeros(weights)} if self.momentum else {}
        return {"square_avg": _zeros(weights), **moving}

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` and slots in place; see :meth:`Optimizer.step`."""
        import torch

        if not gradients:
            return
        slopes, moving = list(gradients.values()), [weights[name] for name in gradients]
        if self.weight_decay:
            torch._foreach_add_(slopes, moving, alpha=self.weight_decay)
        squares = [slots["square_avg"][name] for name in gradients]
        torch._foreach_mul_(squares, self.alpha)
        torch._foreach_addcmul_(squares, slopes, slopes, 1 - self.alpha)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, self.eps)
        if not self.momentum:
            torch._foreach_addcdiv_(moving, slopes, roots, -lr)
            return
        rolling = [slots["momentum"][name] for name in gradients]
        torch._foreach_mul_(rolling, self.momentum)
        torch._foreach_addcdiv_(rolling, slopes, roots)
        torch._foreach_add_(moving, rolling, alpha=-lr)


@dataclass(frozen=True)
class Adagrad(Optimizer):
    """Steps as those of ``torch.optim.Adagrad``: gradients over the root of their summed squares.

    References:
        Duchi, Hazan, Singer, "Adaptive Subgradient Methods for Online Learning and Stochastic
        Optimization", JMLR 2011.
    """

    lr: Annotated[float, Gt(0)] = 0.01
    """The step size, before schedule and decay."""
    eps: Annotated[float, Gt(0)] = 1e-10
    """Added to the root, so that nothing is divided by zero."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Adds this times the weights to the gradients."""

    def slots(self, weights: Weights) -> Slots:
        """Return zeros for the sums of the squares."""
        return {"sum": _zeros(weights)}

    def step(
        self, weights: Weights, gradients: Weights, slots: Slots, lr: float, number: int
    ) -> None:
        """Move ``weights`` and the sums in place; see :meth:`Optimizer.step`."""
        import torch

        if not gradients:
            return
        slopes, moving = list(gradients.values()), [weights[name] for name in gradients]
        if self.weight_decay:
            torch._foreach_add_(slopes, moving, alpha=self.weight_decay)
        sums = [slots["sum"][name] for name in gradients]
        torch._foreach_addcmul_(sums, slopes, slopes, 1.0)
        roots = torch._foreach_sqrt(sums)
        torch._foreach_add_(roots, self.eps)
        torch._foreach_addcdiv_(moving, slopes, roots, -lr)


def _zeros(weights: Weights) -> Weights:
    import torch

    return {name: torch.zeros_like(weight) for name, weight in weights.items()}
