"""Which buffers of a model training leaves alone: masks, positions, other constants."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from fedsim.models._state import is_same, unique_state
from fedsim.named_tensors import NamedShapes

__all__ = ["constant_buffers"]


def constant_buffers(model: nn.Module, shape: tuple[int, ...] | NamedShapes) -> frozenset[str]:
    """Return the floating-point buffers that a pass in training mode does not move.

    Batch statistics are known to move; for other buffers the model is run once, on two random
    examples, and put back as it was.  Where it cannot be run, none is taken for a constant.

    Args:
        model: as it was built.
        shape: of one example.
    """
    doubtful = _doubtful(model)
    if not doubtful:
        return frozenset()
    before = {name: tensor.detach().clone() for name, tensor in unique_state(model).items()}
    was_training = model.training
    ran = _runs(model.train(), shape)
    model.train(was_training)
    state = unique_state(model)
    moved = {name for name in doubtful if not is_same(state[name], before[name])}
    with torch.no_grad():
        for name, value in before.items():
            state[name].copy_(value)
    return frozenset(doubtful - moved) if ran else frozenset()


def _doubtful(model: nn.Module) -> set[str]:
    statistics = {
        id(buffer)
        for module in model.modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        for buffer in module.buffers(recurse=False)
    }
    return {
        name
        for name, tensor in unique_state(model).items()
        if not isinstance(tensor, nn.Parameter)
        and tensor.is_floating_point()
        and id(tensor) not in statistics
    }


def _runs(model: nn.Module, shape: tuple[int, ...] | NamedShapes) -> bool:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    trials: list[Any] = []
    if isinstance(shape, NamedShapes):
        trials = [shape.zeros(2)]
    else:
        trials = [torch.randn(2, *shape), torch.zeros(2, *shape, dtype=torch.int64)]
    for inputs in trials:
        try:
            with torch.no_grad():
                model(inputs.to(device))
        except Exception:  # whatever the author's forward raises; check_model says it
            continue
        return True
    return False
