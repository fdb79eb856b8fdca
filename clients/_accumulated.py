"""The gradients of a batch that is too large for one pass: of its parts, one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.wire import Weights

__all__ = ["accumulated"]


def accumulated(
    examples: Examples,
    model: nn.Module,
    trained: Mapping[str, nn.Parameter],
    parts: Sequence[Tensor],
) -> tuple[Tensor, Weights]:
    """Return the loss and the gradients of a batch, equation 1 of :mod:`fedsim.task`.

    Sums are added up and divided at the end by all units: the mean of the parts' means would be
    another number where parts differ in tokens or weights.

    Args:
        examples: the client's.
        model: what is trained.
        trained: its trained parameters, by name.
        parts: of the batch, each the places of its examples, `(part,)`.
    """
    for parameter in trained.values():
        parameter.grad = None
    total = units = torch.zeros((), device=parts[0].device)
    for rows in parts:
        losses, weights = examples.loss_sums(model, rows)
        torch.autograd.backward(losses)
        total, units = total + losses.detach(), units + weights.detach()
    units = units.clamp(min=1e-30)
    return total / units, {
        name: p.grad.div_(units) for name, p in trained.items() if p.grad is not None
    }
