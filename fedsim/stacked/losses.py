"""Losses of several clients' batches at once, for any task.

A client's loss is equation 1 of :mod:`fedsim.task`: what fills its batch up counts nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from fedsim.task import Task

__all__ = ["has_error", "losses_and_errors", "mean_losses", "shares"]


def has_error(task: Task) -> bool:
    """Return whether the derivative of the task's loss by a model's outputs is written out."""
    if task.is_cross_entropy:
        return True
    dtype = torch.float32 if task.targets.dtype.startswith("float") else torch.int64
    outputs, targets = (
        torch.zeros(1, task.outputs),
        torch.zeros(1, *task.targets.shape, dtype=dtype),
    )
    return len(task.output_shape) == 1 and task.error(outputs, targets) is not None


def shares(task: Task, counts: Tensor, sizes: Tensor) -> Tensor:
    """Return how much each example counts, `(clients, batch)`, for the functions below.

    Args:
        task: for plain cross-entropy it is a share of the client's mean.
        counts: an example's weight, 0 for what fills up, `(clients, batch)`.
        sizes: their sums, `(clients,)`.
    """
    return counts / sizes.unsqueeze(1) if task.is_cross_entropy else counts.float()


def mean_losses(task: Task, outputs: Tensor, targets: Tensor, share: Tensor) -> Tensor:
    """Return each client's loss, `(clients,)`.

    Args:
        task: what is learnt.
        outputs: `(clients, batch, ...)`.
        targets: `(clients, batch, ...)`.
        share: of :func:`shares`, `(clients, batch)`.
    """
    outputs, targets = outputs.flatten(0, 1), targets.flatten(0, 1)
    if task.is_cross_entropy:
        losses = functional.cross_entropy(outputs, targets, reduction="none")
        return (losses.view_as(share) * share).sum(dim=1)
    losses, units = (part.view_as(share) * share for part in task.losses(outputs, targets))
    return losses.sum(dim=1) / units.sum(dim=1).clamp(min=1e-30)


def losses_and_errors(
    task: Task, outputs: Tensor, targets: Tensor, share: Tensor
) -> tuple[Tensor, Tensor]:
    """Return each client's loss, `(clients,)`, and its derivative by ``outputs``.

    ``outputs``, `(clients, batch, k)`, may be overwritten; see :func:`mean_losses`.
    """
    if task.is_cross_entropy:
        logs, at = functional.log_softmax(outputs, dim=2), targets.unsqueeze(2)
        losses = -(logs.gather(2, at).squeeze(2) * share).sum(dim=1)
        error = logs.exp_().scatter_add_(2, at, -torch.ones_like(at, dtype=logs.dtype))
        return losses, error.mul_(share.unsqueeze(2))
    flat, flat_targets = outputs.flatten(0, 1), targets.flatten(0, 1)
    each, units = (part.view_as(share) * share for part in task.losses(flat, flat_targets))
    total = units.sum(dim=1).clamp(min=1e-30)
    slope = task.error(flat, flat_targets)
    if slope is None:
        raise ValueError(f"{type(task).__name__} has no error for these outputs")
    factor = share / total.unsqueeze(1)
    return each.sum(dim=1) / total, slope.view_as(outputs) * factor.unsqueeze(2)
