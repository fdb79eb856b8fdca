"""From a scenario's ``model`` part to a module."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fedsim.errors import Fault, FedsimError, ScenarioError
from fedsim.models._named_inputs import take_by_name
from fedsim.named_tensors import NamedShapes
from fedsim.seeds import torch_defaults

if TYPE_CHECKING:
    from fedsim.schema.part import Part

__all__ = ["build"]


def build(
    part: Part, shape: tuple[int, ...] | NamedShapes, classes: int, seed: int, folder: Path
) -> nn.Module:
    """Return the model that ``part`` names; its first weights are a function of ``seed``.

    Args:
        part: the scenario's ``model``.
        shape: of one example; by name, where it has several inputs.
        classes: how many numbers it is to return; a model may ask for them as ``outputs`` too.
        seed: the scenario's root seed.
        folder: the scenario file's, where ``use: ./file.py:Class`` is looked for.
    """
    from fedsim.plugins.registry import build as build_part

    with torch_defaults(seed, "model"):
        sizes = {"shape": shape, "classes": classes, "outputs": classes}
        model = build_part("model", part, folder, **sizes)
        if not isinstance(model, nn.Module) and hasattr(model, "module"):
            model = _made(model)
        if not isinstance(model, nn.Module):
            what = f"{type(model).__name__} is no torch.nn.Module"
            raise ScenarioError([Fault("", 0, 0, "model", what)])
        if isinstance(shape, NamedShapes):
            take_by_name(model, shape)
        if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
            _shape_lazily(model, shape)
    return model


def _made(maker: Any) -> nn.Module:
    """Return the module of a plug-in that is none itself, but has a method that makes one.

    Raises:
        ScenarioError: if it cannot.
    """
    try:
        module: nn.Module = maker.module()
    except FedsimError:
        raise
    except Exception as error:  # of another library, of many kinds
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ScenarioError([Fault("", 0, 0, "model", text)]) from error
    return module


def _shape_lazily(model: nn.Module, shape: tuple[int, ...] | NamedShapes) -> None:
    """Let lazy modules get their shapes from a first batch, which moves no batch statistics."""
    model.eval()
    try:
        with torch.no_grad():
            model(shape.zeros(2) if isinstance(shape, NamedShapes) else torch.zeros(2, *shape))
    except Exception as error:  # whatever the author's forward raises
        text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        what = f"cannot take examples of the shape {shape}: {text}"
        raise ScenarioError([Fault("", 0, 0, "model", what)]) from error
    model.train()
