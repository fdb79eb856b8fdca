"""Random shifts, scales and flips of images that a gradient passes through, alike on every device.

A shift, a scale and a flip work on rows and columns by themselves, so one small matrix for each
does all three in one product, and its gradient is a product too: sampling on a grid has no
deterministic gradient on a GPU.

References:
    Zhao, Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021,
    arXiv:2102.08259: a subset of its transformations (no rotation, colour or cutout).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

__all__ = ["Augment", "augmentation"]

Augment = Literal["none", "shift_scale", "flip_shift_scale"]

SHIFT, SCALE = 0.125, 1.2
"""At most an eighth of a side, and by a factor between ``1 / 1.2`` and 1.2, as in the paper."""


def augmentation(
    kind: Augment, shape: torch.Size, generator: torch.Generator
) -> Callable[[Tensor], Tensor]:
    """Return one random transformation, the same for every batch that it is given.

    Args:
        kind: which parts it may have.
        shape: of a batch of images, `(n, channels, height, width)`.
        generator: a generator of the images' device.

    Raises:
        ValueError: if the shape is not that of images.
    """
    if kind == "none":
        return lambda images: images
    if len(shape) != 4:
        raise ValueError(f"augment: {kind} needs images (channels, height, width)")
    device = generator.device
    drawn = torch.rand(5, generator=generator, device=device)
    flip = drawn[4] < 0.5 if kind == "flip_shift_scale" else torch.tensor(False, device=device)
    rows = _resampling(shape[-2], drawn[0], drawn[1], torch.tensor(False, device=device))
    columns = _resampling(shape[-1], drawn[2], drawn[3], flip)
    return lambda images: rows @ images @ columns.T


def _resampling(side: int, shift: Tensor, scale: Tensor, flip: Tensor) -> Tensor:
    """Return the matrix that moves, stretches and mirrors one axis, `(side, side)`.

    What comes in from outside is 0: the mean, in normalised images.
    """
    middle = (side - 1) / 2
    pixels = torch.arange(side, device=shift.device, dtype=torch.float32)
    factor = SCALE ** (2 * scale - 1)
    source = (pixels - middle) / factor * torch.where(flip, -1.0, 1.0)
    source = source + middle + (2 * shift - 1) * SHIFT * side
    return (1 - (source[:, None] - pixels).abs()).clamp(min=0)  # linear interpolation
