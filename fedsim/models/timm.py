"""Any image model of timm by its name, with weights that the seed draws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from fedsim.models._foreign import library

__all__ = ["Timm"]


@dataclass(frozen=True)
class Timm:
    """A model of timm; ``timm:vit_tiny_patch16_224`` is short for ``architecture: ...``.

    Nothing is downloaded: pretrained weights come from a file, by ``finetune.weights``.
    """

    shape: tuple[int, ...]
    classes: int
    architecture: str
    """Its name there, as timm.list_models() gives it."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the model, such as img_size."""

    def module(self) -> nn.Module:
        """Return the model, for as many channels as the images have.

        Raises:
            MissingPackage: if timm is not there.
            RuntimeError: if it has no such model.
        """
        model: nn.Module = library("timm").create_model(
            self.architecture,
            pretrained=False,
            num_classes=self.classes,
            in_chans=self.shape[0],
            **self.options,
        )
        return model
