"""SGD that no single example can steer: clipped per-example gradients, Poisson batches, noise.

References:
    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
    Privacy", CCS 2016, arXiv:1607.00133, Algorithm 1, with a public denominator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fedsim.client import Examples
from fedsim.clients._layers import layers_draw_from
from fedsim.privacy.accountant import Release
from fedsim.privacy.mechanism import SHRINK
from fedsim.privacy.noise import Source, gaussian, grid, source_of
from fedsim.privacy.terms import Terms
from fedsim.wire import Task, Update, Weights

__all__ = ["DpSgd", "clipped_sum", "per_example", "sampled"]

AT_ONCE = 64
"""Examples whose gradients are held at the same time."""

Gradients = Callable[[Weights, Tensor, Tensor], Weights]


@dataclass(frozen=True)
class DpSgd:
    """DP-SGD; ``privacy`` says the clip and the noise, and its ``unit`` has to be ``record``.

    Neighbours differ by one example of one client.  Nothing that is sent or divided by depends
    on how many examples a client holds, except that one without any is known to have none.
    """

    lr: Annotated[float, Gt(0)] = 0.5
    """The step size."""
    steps: Annotated[int, Ge(1)] = 20
    """Steps in one round, the same for every client: each is one release."""
    sample_rate: Annotated[float, Gt(0), Le(1)] = 0.1
    """Every example's chance to be in a step's batch, the same for every client."""
    batch_size: Annotated[int, Ge(1)] = 16
    """What the noisy sums are divided by: a public number, whatever came into the batch."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Of the noisy steps; it starts from rest in every round."""
    protects: ClassVar[tuple[str, ...]] = ("train",)

    def under(self, terms: Terms) -> _Private:
        """Return the rule that trains under ``terms``."""
        return _Private(self, terms)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release: ``steps`` subsampled Gaussians each."""
        return (Release(noise_multiplier, self.sample_rate, self.steps * turns),)


@dataclass(frozen=True)
class _Private:
    """DP-SGD under its terms."""

    rule: DpSgd
    terms: Terms

    def train(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Return how far the noisy steps moved the weights; noise alone without examples.

        Besides the weights it sends nothing: no metrics, and one example whatever it holds.  It
        keeps how many turns it has taken, which its own books are held against.
        """
        before, device = task.broadcast.weights, next(model.parameters()).device
        source = source_of(self.terms.rng, draws)
        with layers_draw_from(draws, device):
            self._descend(model, examples, source)
        after = model.state_dict()
        delta = {name: after[name].to(value.device) - value for name, value in before.items()}
        taken = task.memory.get("privacy", {}).get("turns", torch.zeros(1)).cpu() + 1
        one = min(1, task.client.examples)
        return Update(task.client.id, delta, one, memory={"privacy": {"turns": taken}})

    def _descend(self, model: nn.Module, examples: Examples, source: Source) -> None:
        """Take the steps, on the model's own parameters."""
        rule, terms = self.rule, self.terms
        std = terms.clip * terms.noise_multiplier
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        gradients = per_example(model)
        velocity: Weights = {}
        for _ in range(rule.steps):
            chosen = sampled(len(examples), rule.sample_rate, source)
            batch = Examples(examples.inputs[chosen], examples.labels[chosen])
            sums = clipped_sum(gradients, weights, batch, terms.clip, grid(std))
            for name in sorted(sums):
                noisy = (sums[name] + gaussian(sums[name], std, source)) / rule.batch_size
                velocity[name] = rule.momentum * velocity.get(name, 0.0) + noisy
                weights[name].sub_(rule.lr * velocity[name])


def sampled(examples: int, rate: float, source: Source) -> Tensor:
    """Return the places of a Poisson sample, `(batch,)`: each is in with chance ``rate``, alone.

    Drawn where the noise is, because the amplification needs a sample that nobody can guess.
    """
    words = source.words(examples)
    chosen = words < np.uint64(rate * 2.0**64) if rate < 1 else np.ones(examples, bool)
    return torch.from_numpy(np.flatnonzero(chosen))


def per_example(model: nn.Module) -> Gradients:
    """Return what gives each example's own gradient: `(batch, *shape)` by name of the weight."""

    def loss(weights: Weights, example: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, weights, (example[None],))
        return nn.functional.cross_entropy(logits, label[None])

    return vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")


def clipped_sum(
    gradients: Gradients, weights: Weights, batch: Examples, clip: float, step: float
) -> Weights:
    """Return the sum over examples of their clipped gradients, in float64.

    Every term lies on the grid of ``step``, rounded towards zero, and sums of such are exact:
    adding or removing one example moves the sum by at most ``clip``.  One whose gradient is
    not finite adds nothing.

    Args:
        gradients: of :func:`per_example`.
        weights: to differentiate for.
        batch: may be empty.
        clip: the bound on the norm of one example's gradient, over all weights together.
        step: of the grid that the noise lies on.
    """
    total = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    for first in range(0, len(batch), AT_ONCE):
        inputs = batch.inputs[first : first + AT_ONCE]
        found = gradients(weights, inputs, batch.labels[first : first + AT_ONCE])
        wide = {name: g.double().flatten(1) for name, g in found.items()}
        squares = [g.square().sum(dim=1) for g in wide.values()]
        norms = torch.stack(squares).sum(dim=0).sqrt()  # (batch,)
        scale = torch.where(norms <= clip * SHRINK, 1.0, clip / norms * SHRINK)
        if not bool((is_finite := torch.isfinite(norms)).all()):
            wide, scale = {name: g[is_finite] for name, g in wide.items()}, scale[is_finite]
        # On the grid of ``step``, a power of two, the terms are whole numbers: one pass puts them
        # there, and :func:`~fedsim.privacy.noise.snap` would give the same bits in four.
        cells = (scale / step).unsqueeze(1)
        for name, g in wide.items():
            total[name] += g.mul_(cells).trunc_().sum(dim=0).mul_(step).view_as(total[name])
    return total
