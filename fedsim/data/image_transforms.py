"""Turning and blurring of image batches, for shifted clients and made-up domains."""

from __future__ import annotations

import math

import numpy as np

from fedsim.data.dataset import Array

__all__ = ["blurred", "rotated"]


def rotated(images: Array, degrees: float) -> Array:
    """Return the images turned anticlockwise about their centre, bilinear, corners 0.

    Args:
        images: shape ``(n, channels, height, width)``, float32.
        degrees: any angle; 90 does what ``numpy.rot90`` does.
    """
    import torch
    from torch.nn.functional import affine_grid, grid_sample

    height, width = images.shape[2:]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # Rows say where in the source a target pixel looks, in halves of the width and the height.
    rotation = torch.tensor([[cos, -sin * height / width, 0.0], [sin * width / height, cos, 0.0]])
    pixels = torch.from_numpy(np.array(images))
    grid = affine_grid(rotation.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    turned: Array = grid_sample(pixels, grid, align_corners=False).numpy()
    return turned


def blurred(images: Array) -> Array:
    """Return each pixel as the mean of its 3x3 neighbourhood; beyond the edge, the edge goes on.

    Args:
        images: shape ``(n, channels, height, width)``, float32.
    """
    edged = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(edged, (3, 3), axis=(2, 3))
    means: Array = windows.mean(axis=(4, 5), dtype=np.float32)
    return means
