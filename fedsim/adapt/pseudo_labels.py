"""Rows as JDME's kernels take them, and pseudo-labels of a target by a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fedsim.adapt.joint_matching import unit_rows
from fedsim.adapt.subspace_messages import LinearHead, RawHead
from fedsim.client import Examples, Unlabelled
from fedsim.errors import RunError
from fedsim.wire import Instruction

__all__ = ["pseudo_labels", "rows_of"]


def rows_of(examples: Examples | Unlabelled, max_width: int) -> Tensor:
    """Return the inputs as rows of length one, `(n, width)`, float64.

    Raises:
        RunError: if a row is wider than ``max_width``.
    """
    rows = examples.inputs.flatten(1).double()
    if rows.shape[1] > max_width:
        raise RunError(
            f"local.max_width allows examples of {max_width} values and these have "
            f"{rows.shape[1]}: moments grow with their square; take features of a model or a "
            "smaller picture"
        )
    return unit_rows(rows)


def pseudo_labels(
    model: nn.Module, inputs: Tensor, rows: Tensor, instruction: Instruction
) -> Tensor:
    """Return labels, `(n,)`, as the model, or the first head on raw inputs, sees them."""
    raw = RawHead.from_broadcast(instruction.broadcast).raw
    if raw is None:
        with torch.no_grad():
            return torch.as_tensor(model.eval()(inputs).argmax(dim=1))
    head = LinearHead.from_weights(raw)
    logits = rows @ head.weight.double().T + head.bias.double()
    return logits.argmax(dim=1)
