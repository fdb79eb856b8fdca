"""Any transform of ``torchvision.transforms.v2`` behind the contract, one call for an example."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fedsim.augmentations.augmentation import Augmentation
from fedsim.seeds import seeded_layers

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["TorchvisionTransform"]


@dataclass(frozen=True)
class TorchvisionTransform(Augmentation):
    """A class of ``torchvision.transforms.v2``, such as ``RandomRotation``.

    Such a transform takes one decision for a whole batch, by torch's default generator: it is
    called for each example, with that generator seeded and put back.

    Raises:
        ValueError: if there is no such transform, or it refuses its arguments.
    """

    transform: str = "RandomHorizontalFlip"
    """The name of the class."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Its arguments."""
    of_images: ClassVar[bool] = True
    moves_pixels: ClassVar[bool] = True

    @classmethod
    def of(cls, name: str, options: Mapping[str, Any]) -> Self:
        """Return the transform ``name`` with its arguments."""
        return cls(name, options)

    def __post_init__(self) -> None:
        """Build one, so that what is wrong with the arguments is known now."""
        self._built()

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return each image `(n, channels, height, width)` as the transform makes it."""
        import torch

        transform = self._built()
        with seeded_layers(generator, torch.device("cpu")):
            return torch.stack([transform(image) for image in inputs.cpu()]).to(inputs.device)

    def _built(self) -> Any:
        module: Any = importlib.import_module("torchvision.transforms.v2")
        cls = getattr(module, self.transform, None)
        if cls is None:
            raise ValueError(f"torchvision.transforms.v2 has no transform {self.transform}")
        return cls(**self.options)
