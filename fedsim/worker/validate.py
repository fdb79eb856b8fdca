"""Checks a client's update: shapes, finite numbers, honest count, before a strategy sees it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from fedsim.wire import ClientInfo, Update, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["fault_of"]


def fault_of(
    update: Update, client: ClientInfo, like: Weights, wants_delta: bool, summed: bool = False
) -> str | None:
    """Return what is wrong with ``update``, in one line, or None.

    Args:
        update: what the client gave back.
        client: who it is; nobody can have worked on more examples than it holds.
        like: the weights that it was sent; a delta has their names, shapes and dtypes.
        wants_delta: whether the phase moves weights, so that a delta must be there.
        summed: whether the delta goes into an exact sum next, which takes finite numbers alone.
    """
    if not 0 <= update.examples <= client.examples:
        return f"claims {update.examples} examples, but holds {client.examples}"
    if wants_delta or update.delta:
        if absent := sorted(like.keys() - update.delta.keys()):
            return f"the delta lacks {', '.join(absent)}"
        if extra := sorted(update.delta.keys() - like.keys()):
            return f"the delta has {', '.join(extra)}, which the model does not have"
    parts = {"delta": update.delta, **update.extras}
    for part, tensors in parts.items():
        for name, tensor in tensors.items():
            fault = _form_fault(tensor, like.get(name))
            if not (fault or (summed and part == "delta")):
                fault = _number_fault(tensor)
            if fault:
                return f"{part} {name}: {fault}"
    return None


def _form_fault(tensor: Tensor, like: Tensor | None) -> str | None:
    if like is not None and tensor.shape != like.shape:
        return f"shape {tuple(tensor.shape)} where {tuple(like.shape)} was expected"
    if like is not None and tensor.dtype != like.dtype:
        return f"dtype {tensor.dtype} where {like.dtype} was expected"
    return None


def _number_fault(tensor: Tensor) -> str | None:
    import torch

    if tensor.is_floating_point() and tensor.numel():
        if tensor.dtype in (torch.float32, torch.float64):
            flat = tensor.reshape(-1)
            if math.isfinite(torch.dot(flat, flat).item()):  # a square may overflow, or all is well
                return None
        low, high = torch.aminmax(tensor)
        # A NaN anywhere makes both of them NaN, an infinity one of them.
        if not (math.isfinite(low.item()) and math.isfinite(high.item())):
            return "not finite (NaN or infinity)"
    return None
