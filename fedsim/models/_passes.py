"""How a model's training passes are computed: as it is written, in bfloat16, by compiled code."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Passes", "adapt", "narrowed", "warm_up"]

NARROW = "multiplies_in_bfloat16"

OPTIONS: dict[str, str | int | bool | Callable[..., Any]] = {"compile_threads": 1}
"""Compiling in this process leaves no others behind."""


@dataclass(frozen=True)
class Passes:
    """What is wished of the passes of local training."""

    narrow: bool = False
    """Multiply in bfloat16; weights, gradients, logits and losses stay float32."""
    compiled: int | None = None
    """How many examples a batch has that compiled code is made for; None: none is made."""


def adapt(model: nn.Module, passes: Passes) -> None:
    """Let ``model(inputs)`` be computed as ``passes`` says, forth and back, in training mode.

    In evaluation mode it stays what it was, and so do its parameters, its buffers and the parts
    that are called by themselves, such as ``model.features``; see :func:`narrowed`.

    Args:
        model: called with one tensor, `(batch, *features)`; changed in place.
        passes: a batch of another size than the compiled one takes the ordinary way.
    """
    if passes == Passes():
        return
    plain: Callable[[Tensor], Tensor] = model.forward
    setattr(model, NARROW, passes.narrow)

    def narrow(inputs: Tensor) -> Tensor:
        with narrowed(model, inputs.device):
            return plain(inputs).float()

    train = narrow if passes.narrow else plain
    compiled = train
    if passes.compiled:
        compiled = torch.compile(train, dynamic=False, options=OPTIONS)

    def forward(inputs: Tensor) -> Tensor:
        if not model.training:
            return plain(inputs)
        return compiled(inputs) if len(inputs) == passes.compiled else train(inputs)

    model.forward = forward


def narrowed(model: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Return where to call parts of ``model`` by themselves, as :func:`adapt` was told to."""
    if not getattr(model, NARROW, False):
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def warm_up(model: nn.Module, shape: tuple[int, ...]) -> None:
    """Let ``model`` be compiled, forth and back, for batches of ``shape``.

    Gradients and batch statistics are what is left of it.

    Raises:
        Exception: of PyTorch's, where there is no compiler.
    """
    device = next(model.parameters()).device
    inputs, labels = torch.zeros(shape, device=device), torch.zeros(shape[0], device=device)
    torch.autograd.backward(nn.functional.cross_entropy(model(inputs), labels.long()))
