"""The gradients of a step: of a batch, or of its parts where it is too large for one pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.errors import RunError
from fedsim.optimizers.optimizer import gradients_of
from fedsim.wire import Weights

__all__ = ["accumulated", "step_gradients"]


def step_gradients(
    examples: Examples,
    model: nn.Module,
    trained: Mapping[str, nn.Parameter],
    batch: Tensor,
    part: int | None,
) -> tuple[Tensor, Weights]:
    """Return the loss of the examples of a step, and its gradients.

    Args:
        examples: the client's.
        model: what is trained.
        trained: its trained parameters, by name.
        batch: the places of the step's examples, `(batch,)`.
        part: how many of them fit into one pass; None: all.

    Raises:
        RunError: if batch norm meets a single example.
    """
    try:
        if part is not None:
            return accumulated(examples, model, trained, torch.split(batch, part))
        loss = examples.loss(model, batch)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise RunError(
            "batch norm cannot train on a batch of one example: local.drop_last: single leaves it "
            "out"
        ) from error
    return loss, gradients_of(loss, trained)


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
