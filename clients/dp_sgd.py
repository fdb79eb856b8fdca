"""SGD that no single example can steer: clipped per-example gradients, Poisson batches, noise.

References:
    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
    Privacy", CCS 2016, arXiv:1607.00133, Algorithm 1, with a public denominator.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fedsim.client import Examples, Seat
from fedsim.clients._example_gradients import SLACK, WrittenOut
from fedsim.clients._layers import layers_draw_from
from fedsim.clients._private_together import descend_together
from fedsim.clients._slots import SLOTS, in_slots, sampled, slots_for
from fedsim.privacy.accountant import Release
from fedsim.privacy.mechanism import SHRINK
from fedsim.privacy.noise import Source, grid, perturbed, source_of
from fedsim.privacy.terms import Terms
from fedsim.wire import Task, Update, Weights

__all__ = ["DpSgd", "clipped_sum", "per_example", "sampled", "written_sum"]

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
        return _sent(task, delta)

    def train_together(self, model: nn.Module, seats: Sequence[Seat]) -> list[Update]:
        """Return what :meth:`train` would give each seat, up to rounding, in the same steps.

        Raises:
            RunError: if ``model`` cannot be stacked.
        """
        moved = descend_together(self.rule, self.terms, model, seats)
        return [_sent(seat.task, delta) for seat, delta in zip(seats, moved, strict=True)]

    def _descend(self, model: nn.Module, examples: Examples, source: Source) -> None:
        """Take the steps, on the model's own parameters."""
        rule, terms = self.rule, self.terms
        std = terms.clip * terms.noise_multiplier
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        written, slopes = WrittenOut.of(model), per_example(model)
        sizes, slots = [weight.numel() for weight in weights.values()], slots_for(rule.batch_size)
        velocity = torch.zeros((), dtype=torch.float64)
        for _ in range(rule.steps):
            chosen = sampled(len(examples), rule.sample_rate, source)
            batch = Examples(examples.inputs[chosen], examples.labels[chosen])
            if written is not None:
                sums = written_sum(written, weights, batch, terms.clip, slots)
            else:
                sums = clipped_sum(slopes, weights, batch, terms.clip, grid(std))
            flat = torch.cat([total.flatten() for total in sums.values()])
            noisy = perturbed(flat, std, source).div_(rule.batch_size)
            velocity = noisy.add_(velocity, alpha=rule.momentum) if rule.momentum else noisy
            moves = torch.split((rule.lr * velocity).float(), sizes)
            for weight, move in zip(weights.values(), moves, strict=True):
                weight.sub_(move.view_as(weight))


def _sent(task: Task, delta: Weights) -> Update:
    """Return all that a client sends and keeps of a turn."""
    taken = task.memory.get("privacy", {}).get("turns", torch.zeros(1)).cpu() + 1
    one = min(1, task.client.examples)
    return Update(task.client.id, delta, one, memory={"privacy": {"turns": taken}})


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
    adding or removing one example moves the sum by at most ``clip``, for the others' gradients
    stay what they were (:func:`in_slots`).  One whose gradient is not finite adds nothing.

    Args:
        gradients: of :func:`per_example`.
        weights: to differentiate for.
        batch: may be empty.
        clip: the bound on the norm of one example's gradient, over all weights together.
        step: of the grid that the noise lies on.
    """
    total = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    for part, count in in_slots(batch):
        found = gradients(weights, part.inputs, part.labels)
        wide = {name: g[:count].double().flatten(1) for name, g in found.items()}
        squares = [g.square().sum(dim=1) for g in wide.values()]
        norms = torch.stack(squares).sum(dim=0).sqrt()  # (count,)
        scale = torch.where(norms <= clip * SHRINK, 1.0, clip / norms * SHRINK)
        if not bool((is_finite := torch.isfinite(norms)).all()):
            wide, scale = {name: g[is_finite] for name, g in wide.items()}, scale[is_finite]
        # On the grid of ``step``, a power of two, the terms are whole numbers: one pass puts them
        # there, and :func:`~fedsim.privacy.noise.snap` would give the same bits in four.
        cells = (scale / step).unsqueeze(1)
        for name, g in wide.items():
            total[name] += g.mul_(cells).trunc_().sum(dim=0).mul_(step).view_as(total[name])
    return total


def written_sum(
    gradients: WrittenOut, weights: Weights, batch: Examples, clip: float, slots: int = SLOTS
) -> Weights:
    """Return what :func:`clipped_sum` does for a chain of known layers; it lies on no grid.

    Adding or removing one example moves it by at most ``clip``, rounding included.  An example's
    term is its gradient, made of float32 numbers that depend on it alone (:func:`in_slots`), cut
    in float64 to ``clip * (1 - 2**-16)``.  Summed in float64, in whatever order, with fused
    multiply-adds or without, ``n`` terms are off by ``(n + 4) * 2**-53`` of the sum of their
    sizes in each coordinate at most, as a whole by ``n * (n + 4) * 2**-53 * clip``; so are the
    neighbour's.  Up to ``n = 2**16`` examples in a batch, both together are below
    ``2**-19 * clip``.  A norm of ``p`` numbers is off by ``p * 2**-53`` of it at most, which is
    below ``2**-20`` up to ``p = 2**33``.  So all of it fits into the ``2**-16`` that were left.

    Args:
        gradients: of the model.
        weights: those to sum for, which the model holds.
        batch: may be empty.
        clip: the bound on the norm of one example's gradient, over all weights together.
        slots: how many examples go through the model together.
    """
    total = {name: torch.zeros_like(w, dtype=torch.float64) for name, w in weights.items()}
    for part, count in in_slots(batch, slots):
        pieces = gradients(part, count)
        norms = torch.stack([piece.squares() for piece in pieces.values()]).sum(dim=0).sqrt()
        scale = torch.where(norms <= clip * SLACK, 1.0, clip / norms * SLACK)
        if not bool((is_finite := torch.isfinite(norms)).all()):
            pieces = {name: piece.only(is_finite) for name, piece in pieces.items()}
            scale = scale[is_finite]
        for name, piece in pieces.items():
            piece.add_to(total[name], scale)
    return total
