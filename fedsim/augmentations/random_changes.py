"""The shelf of augmentations: crop, flip, cutout and Gaussian noise, for any channel count."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Le

from fedsim.augmentations.augmentation import Augmentation

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Crop", "Cutout", "Flip", "GaussianNoise"]


@dataclass(frozen=True)
class Crop(Augmentation):
    """Moves each image by up to ``padding`` pixels, up or down and to a side.

    What comes in is 0, the mean of normalised images: a random crop of the padded image.

    References:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        section 4.2.
    """

    padding: Annotated[int, Ge(1)] = 4
    """Pixels on each side."""
    of_images: ClassVar[bool] = True
    moves_pixels: ClassVar[bool] = True

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return a crop of each image `(n, channels, height, width)` at a place of its own."""
        import torch

        (count, _, height, width), around = inputs.shape, [self.padding] * 4
        corners = torch.randint(2 * self.padding + 1, (2, count), generator=generator)
        down, right = corners.to(inputs.device)
        padded = torch.nn.functional.pad(inputs, around)
        crops = padded.unfold(2, height, 1).unfold(3, width, 1)  # A view: every possible crop.
        return crops[torch.arange(count, device=inputs.device), :, down, right]


@dataclass(frozen=True)
class Flip(Augmentation):
    """Mirrors images, left for right."""

    probability: Annotated[float, Gt(0), Le(1)] = 0.5
    """The chance of an image to be mirrored."""
    of_images: ClassVar[bool] = True
    moves_pixels: ClassVar[bool] = True

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return each image `(n, channels, height, width)`, mirrored or not."""
        import torch

        drawn = torch.rand(len(inputs), generator=generator).to(inputs.device)
        return torch.where(_for_each(drawn < self.probability, inputs), inputs.flip(-1), inputs)


@dataclass(frozen=True)
class Cutout(Augmentation):
    """Sets a square of each image to 0, the mean of normalised images, in all channels.

    Its centre is any pixel, so that a part of it may lie outside.

    References:
        DeVries, Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
        2017, arXiv:1708.04552, section 3.2.
    """

    size: Annotated[int, Ge(1)] = 8
    """The side of the square, in pixels."""
    of_images: ClassVar[bool] = True

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return each image `(n, channels, height, width)` with its square."""
        import torch

        (count, _, height, width), device = inputs.shape, inputs.device
        rows = torch.randint(height, (count, 1), generator=generator).to(device)
        columns = torch.randint(width, (count, 1), generator=generator).to(device)
        in_rows = self._inside(torch.arange(height, device=device) - rows)
        in_columns = self._inside(torch.arange(width, device=device) - columns)
        square = in_rows[:, None, :, None] & in_columns[:, None, None, :]
        return inputs.masked_fill(square, 0.0)

    def _inside(self, distance: Tensor) -> Tensor:
        first = -(self.size // 2)
        return (distance >= first) & (distance < first + self.size)


@dataclass(frozen=True)
class GaussianNoise(Augmentation):
    """Adds Gaussian noise to every number of an example, of a table's too."""

    deviation: Annotated[float, Gt(0)] = 0.05
    """The noise's standard deviation; inputs have 1 where they are normalised."""

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the examples `(n, *features)` with noise."""
        import torch

        noise = torch.randn(inputs.shape, generator=generator, dtype=inputs.dtype)
        return inputs + self.deviation * noise.to(inputs.device)


def _for_each(values: Tensor, inputs: Tensor) -> Tensor:
    """Return one value for each example in a shape that meets its features."""
    return values.view(-1, *[1] * (inputs.dim() - 1))
