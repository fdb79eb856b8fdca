"""Is a model fit to be trained here?  Asked once, before round 1."""

from __future__ import annotations

import torch
from torch import nn

from fedsim.errors import Fault, ScenarioError
from fedsim.named_tensors import NamedShapes
from fedsim.task import Task

__all__ = ["check_model"]

_FLOATS = (torch.float32, torch.float64)
Shape = tuple[int, ...] | NamedShapes


def check_model(model: nn.Module, shape: Shape, are_tokens: bool, task: Task) -> None:
    """Refuse a model whose parameters cannot travel, or that does not answer as the task asks.

    It is run once, on two examples of zeros, without training mode and without gradients.

    Args:
        model: as it was built.
        shape: of one example; by name, where it has several inputs.
        are_tokens: whether the inputs are token ids.
        task: that it is for.

    Raises:
        ScenarioError: at ``model``, with the name of the layer, or what was wanted and what came.
    """
    if reason := _kind_fault(model) or _output_fault(model, shape, are_tokens, task):
        raise ScenarioError([Fault("", 0, 0, "model", reason)])


def _kind_fault(model: nn.Module) -> str:
    for name, parameter in model.named_parameters():
        if parameter.dtype not in _FLOATS:
            kind = str(parameter.dtype).removeprefix("torch.")
            hint = "; for bfloat16 steps say compute.precision: bf16" if kind == "bfloat16" else ""
            return f"{name} is {kind}: weights that travel are float32 or float64{hint}"
    if shared := _shared_memory(model):
        return shared
    for name, module in model.named_modules():
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            return f"{name or type(module).__name__} has an extra state, which does not travel"
    return ""


def _shared_memory(model: nn.Module) -> str:
    """Return which two parameters are one memory without being tied, if any are."""
    places: dict[tuple[int, torch.Size], str] = {}
    for name, parameter in model.named_parameters():
        if parameter.numel():
            place = (parameter.data_ptr(), parameter.shape)
            first = places.setdefault(place, name)
            if first != name:
                hint = "assign the parameter itself to tie them"
                return f"{first} and {name} are two parameters in the same memory: {hint}"
    return ""


def _output_fault(model: nn.Module, shape: Shape, are_tokens: bool, task: Task) -> str:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    dtype = torch.int64 if are_tokens else torch.float32
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            if isinstance(shape, NamedShapes):
                outputs = model(shape.zeros(2, device))
            else:
                outputs = model(torch.zeros(2, *shape, dtype=dtype, device=device))
    except Exception as error:  # whatever the author's forward raises
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return f"cannot take examples of the shape {shape}: {text}"
    finally:
        model.train(was_training)
    if not isinstance(outputs, torch.Tensor):
        return f"returns a {type(outputs).__name__}, where a tensor is wanted"
    wanted = (2, *task.output_shape)
    if tuple(outputs.shape) != wanted:
        name = type(task).__name__.lower()
        return f"returns {tuple(outputs.shape)} for two examples, where {name} wants {wanted}"
    return ""
