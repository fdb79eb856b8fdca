"""From a scenario's ``model`` part to a module, and between a module and its weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from fedsim.errors import Fault, ScenarioError
from fedsim.models._named_inputs import take_by_name
from fedsim.named_tensors import NamedShapes
from fedsim.seeds import torch_defaults
from fedsim.wire import Weights

if TYPE_CHECKING:
    from fedsim.schema.part import Part

__all__ = ["build", "load_weights", "weights_of"]


def build(
    part: Part, shape: tuple[int, ...] | NamedShapes, classes: int, seed: int, folder: Path
) -> nn.Module:
    """Return the model that ``part`` names; its first weights are a function of ``seed``.

    Args:
        part: the scenario's ``model``.
        shape: of one example; by name, where it has several inputs.
        classes: how many logits the model makes.
        seed: the scenario's root seed.
        folder: the scenario file's, where ``use: ./file.py:Class`` is looked for.
    """
    from fedsim.plugins.registry import build as build_part

    with torch_defaults(seed, "model"):
        model: nn.Module = build_part("model", part, folder, shape=shape, classes=classes)
        if not isinstance(model, nn.Module):
            what = f"{type(model).__name__} is no torch.nn.Module"
            raise ScenarioError([Fault("", 0, 0, "model", what)])
        if isinstance(shape, NamedShapes):
            take_by_name(model, shape)
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            # Lazy modules get their shapes from a first batch.
            model(shape.zeros(2) if isinstance(shape, NamedShapes) else torch.zeros(2, *shape))
    return model


def weights_of(model: nn.Module) -> Weights:
    """Return copies, on the CPU, of everything in ``model`` that can be averaged.

    That is its parameters and its floating-point buffers; a counter is not averaged.
    """
    return {name: value.cpu().clone() for name, value in _shared(model).items()}


def load_weights(model: nn.Module, weights: Weights) -> None:
    """Copy ``weights`` into ``model``, whose other buffers keep what they hold.

    Raises:
        ValueError: if the names or the shapes are not those of ``model``.
    """
    slots = _shared(model)
    if slots.keys() != weights.keys():
        raise ValueError(f"not this model's weights: {sorted(slots.keys() ^ weights.keys())}")
    for name, value in slots.items():
        if value.shape != weights[name].shape:  # copy_ would broadcast
            raise ValueError(f"{name}: {tuple(weights[name].shape)}, not {tuple(value.shape)}")
        value.copy_(weights[name])


def _shared(model: nn.Module) -> dict[str, torch.Tensor]:
    # A state_dict's tensors are detached and share the module's memory.
    return {name: v for name, v in model.state_dict().items() if v.is_floating_point()}
