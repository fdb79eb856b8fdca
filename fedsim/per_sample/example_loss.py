"""The losses of a batch's examples, summed: what each example's own gradient is taken of."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from fedsim.task import Task
from fedsim.tasks.classification import Classification

__all__ = ["PLAIN", "REST", "summed_loss"]

PLAIN = Classification()
"""What is learnt where nobody says: by plain cross-entropy."""

REST = 64
"""More numbers than a step of any processor's vectors takes."""


def summed_loss(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the sum of the examples' losses, whose derivative by an output is its example's.

    A sum, not a mean: an example's error must not depend on how many there are.  Nor on its place:
    a processor's vectors rarely come out even, and the last few numbers of a tensor are computed
    one by one, with other last bits.  Here those are rows of zeros behind the others.

    Args:
        task: what is learnt.
        outputs: `(n, ...)`.
        targets: `(n, ...)`.
    """
    if task.is_cross_entropy:
        return functional.cross_entropy(outputs, targets, reduction="sum")
    rows = math.ceil(REST / max(1, outputs[0].numel()))
    losses = task.example_losses(_padded(outputs, rows), _padded(targets, rows))
    return losses[: len(outputs)].sum()


def _padded(tensor: Tensor, rows: int) -> Tensor:
    """Return ``tensor`` with ``rows`` more rows of zeros at its end."""
    return functional.pad(tensor, (0, 0) * (tensor.dim() - 1) + (0, rows))
