"""Any classifier of torchvision by its name, with weights that the seed draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fedsim.models._foreign import library

__all__ = ["Torchvision"]


@dataclass(frozen=True)
class Torchvision:
    """A model of torchvision; ``torchvision:resnet18`` is short for ``architecture: resnet18``.

    Nothing is downloaded: pretrained weights come from a file, by ``finetune.weights``.
    """

    classes: int
    architecture: str
    """Its name there, as torchvision.models.list_models() gives it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the model."""

    def module(self) -> nn.Module:
        """Return the model.

        Raises:
            MissingPackage: if torchvision is not there.
            ValueError: if it has no such model.
        """
        model: nn.Module = library("torchvision").models.get_model(
            self.architecture, weights=None, num_classes=self.classes, **self.options
        )
        return model
