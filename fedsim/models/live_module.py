"""A module that lives in this process: built in a notebook, by code that no file holds."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from fedsim.errors import RunError

__all__ = ["LiveModule", "remembered"]

_MODULES: dict[str, nn.Module] = {}


@dataclass(frozen=True)
class LiveModule:
    """The module that ``fedsim.run(..., model=module)`` was given, with its weights.

    It is known in that process alone: not to Ray, not to devices, and to no later one.
    """

    sha256: str
    """The hash of its state dict and of how it prints, which stands for it."""

    def module(self) -> nn.Module:
        """Return a copy of it.

        Raises:
            RunError: if it lives in another process.
        """
        if self.sha256 not in _MODULES:
            raise RunError(
                "model: the module of this run lived in the Python process that began it, and is "
                "not here: give it again with fedsim.run(..., model=...), or put its class into a "
                "file and name it: model: ./file.py:Class"
            )
        return copy.deepcopy(_MODULES[self.sha256])


def remembered(module: nn.Module) -> str:
    """Keep a copy of ``module`` in this process, and return the hash that it is called by."""
    digest = hashlib.sha256(repr(module).encode())
    for name, tensor in module.state_dict().items():
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name}|{array.dtype}|{tuple(array.shape)}|".encode())
        digest.update(array.view(-1).view(torch.uint8).numpy().data)
    name = digest.hexdigest()
    _MODULES.setdefault(name, copy.deepcopy(module))
    return name
