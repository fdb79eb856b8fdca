"""U-Net: a class for every pixel, from fine and coarse features together."""

from __future__ import annotations

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from fedsim.models._images import image_shape

__all__ = ["UNet"]

GROUPS = 4


class UNet(nn.Module):
    """Blocks down, each at half the size of the one before, and up again beside their outputs.

    With group norm in the place of none, so that no statistics of batches travel.

    References:
        Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image
        Segmentation", MICCAI 2015, arXiv:1505.04597, figure 1.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are for a pixel.
        width: Channels at full size, a multiple of 4; twice as many at each smaller one.
        depth: How often the size is halved.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: Annotated[int, Ge(4)] = 16,
        depth: Annotated[int, Ge(1)] = 2,
    ) -> None:
        super().__init__()
        channels, high, wide = image_shape(shape, at_least=2**depth, model="unet")
        if width % GROUPS:
            raise ValueError(f"unet: width {width} is no multiple of {GROUPS}")
        if high % 2**depth or wide % 2**depth:
            raise ValueError(f"unet: {high} x {wide} pixels cannot be halved {depth} times")
        widths = [width * 2**level for level in range(depth + 1)]
        before = [channels, *widths[:-1]]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip(before, widths, strict=True))
        ups = list(zip(widths[1:], widths[:-1], strict=True))[::-1]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in ups)
        self.up = nn.ModuleList(_block(2 * b, b) for _, b in ups)
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, classes, height, width)`."""
        levels: list[Tensor] = []
        for level, block in enumerate(self.down):
            finer = nn.functional.max_pool2d(levels[-1], 2) if level else inputs
            levels.append(block(finer))
        features = levels.pop()
        for grow, block in zip(self.grow, self.up, strict=True):
            features = block(torch.cat([levels.pop(), grow(features)], dim=1))
        logits: Tensor = self.head(features)
        return logits


def _block(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, padding=1),
        nn.GroupNorm(GROUPS, after),
        nn.ReLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(GROUPS, after),
        nn.ReLU(),
    )
