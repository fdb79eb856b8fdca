"""One model for all turns of a run: before each turn it is put back as it was built."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from fedsim.errors import RunError
from fedsim.models._state import constant_names, exchanged_names, is_same, unique_state
from fedsim.wire import Weights

__all__ = ["FreshModel"]


class FreshModel:
    """A model, and what of it a turn may have changed."""

    def __init__(self, model: nn.Module) -> None:
        """Remember the state of ``model``, which is used and changed from now on."""
        self.model = model
        # Looked up once: walking the modules costs more than a small model's copy.
        self._slots = unique_state(model)
        self._first = {name: slot.detach().clone() for name, slot in self._slots.items()}
        self._exchanged = exchanged_names(model)
        self._constant = constant_names(model)
        self._trained = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
        self._modules = list(model.modules())

    @property
    def initial(self) -> Weights:
        """What is exchanged, on the CPU, as it was at first."""
        return {name: self._first[name].cpu() for name in self._exchanged}

    def loaded(self, weights: Mapping[str, torch.Tensor]) -> nn.Module:
        """Return the model with ``weights``, all else as it was when it was built.

        Raises:
            ValueError: if a name or a shape is not the model's.
        """
        if unknown := weights.keys() - self._slots.keys():
            raise ValueError(f"the model has no {', '.join(sorted(unknown))}")
        with torch.no_grad():
            for name, slot in self._slots.items():
                value = weights.get(name, self._first[name])
                if value.shape != slot.shape:  # copy_ would broadcast it
                    raise ValueError(f"{name} has shape {tuple(value.shape)}")
                slot.copy_(value)
        for parameter, trained in self._trained:
            parameter.grad = None
            parameter.requires_grad_(trained)
        if not all(module.training for module in self._modules):
            self.model.train()
        return self.model

    def check_constant(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Refuse a turn that moved a buffer taken for a constant: its value would be lost.

        Args:
            weights: that the turn began with.

        Raises:
            RunError: names the buffer.
        """
        for name in self._constant:
            if not is_same(self._slots[name], weights.get(name, self._first[name])):
                text = "moved, but not in the trial pass before round 1: its value would be lost"
                raise RunError(f"the buffer {name} {text}")
