"""Sums of examples' gradients, each clipped by itself, that no example moves by more than the clip.

References:
    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
    Privacy", CCS 2016, arXiv:1607.00133, Algorithm 1.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fedsim.client import Examples
from fedsim.per_sample.batches import SLOTS, in_slots
from fedsim.per_sample.example_loss import PLAIN, summed_loss
from fedsim.per_sample.gradients import SLACK, WrittenOut
from fedsim.privacy.mechanism import SHRINK
from fedsim.task import Task
from fedsim.wire import Weights

__all__ = ["Gradients", "clipped_sum", "gradient_of_each", "per_example", "written_sum"]

Gradients = Callable[[Weights, Tensor, Tensor], Weights]


def per_example(model: nn.Module, task: Task = PLAIN) -> Gradients:
    """Return what gives each example's own gradient: `(batch, *shape)` by name of the weight."""

    def loss(weights: Weights, example: Tensor, target: Tensor) -> Tensor:
        outputs = functional_call(model, weights, (example[None],))
        return summed_loss(task, outputs, target[None])

    return gradient_of_each(loss)


def gradient_of_each(loss: Callable[[Weights, Tensor, Tensor], Tensor]) -> Gradients:
    """Return what gives each example's gradient of ``loss``, of weights, example and label."""
    each = vmap(grad(loss), in_dims=(None, 0, 0), randomness="different")

    def gradients(weights: Weights, inputs: Tensor, targets: Tensor) -> Weights:
        with warnings.catch_warnings():  # that a layer has no rule of its own, and is slow
            warnings.filterwarnings("ignore", "There is a performance drop")
            by_example: Weights = each(weights, inputs, targets)
        return by_example

    return gradients


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
        by_example = gradients(weights, part.inputs, part.labels)
        # In float64 from here on: norms and products of float32 would round by more than the
        # room that SHRINK leaves below the clip.
        wide = {name: g[:count].double().reshape(count, -1) for name, g in by_example.items()}
        squares = [g.square().sum(dim=1) for g in wide.values()]
        norms = torch.stack(squares).sum(dim=0).sqrt()  # (count,)
        scale = torch.where(norms <= clip * SHRINK, 1.0, clip / norms * SHRINK)
        # Left out, not clipped: a factor of 0 would make NaN of infinity, and so of the sum.
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
        pieces = gradients(part, count)  # of those alone that do not fill up
        norms = torch.stack([piece.squares() for piece in pieces.values()]).sum(dim=0).sqrt()
        scale = torch.where(norms <= clip * SLACK, 1.0, clip / norms * SLACK)
        if not bool((is_finite := torch.isfinite(norms)).all()):
            pieces = {name: piece.only(is_finite) for name, piece in pieces.items()}
            scale = scale[is_finite]
        for name, piece in pieces.items():
            piece.add_to(total[name], scale)
    return total
