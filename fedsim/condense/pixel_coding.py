"""How synthetic images travel: as they are, at half precision, or as bytes."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from fedsim.wire import Weights

__all__ = ["PIXEL_BYTES", "Coding", "decoded", "encoded"]

Coding = Literal["fp32", "fp16", "uint8"]

PIXEL_BYTES: dict[Coding, int] = {"fp32": 4, "fp16": 2, "uint8": 1}


def encoded(images: Tensor, coding: Coding) -> Weights:
    """Return what is sent in place of ``images``, `(n, *features)`, float32.

    ``uint8`` cuts the range of all the images into 255 equal steps: no pixel is off by more
    than half a step.  ``fp16`` keeps 11 significant bits.
    """
    if coding == "fp32":
        return {"images": images}
    if coding == "fp16":
        return {"images": images.half()}
    low, high = torch.aminmax(images) if images.numel() else (images.new_zeros(()),) * 2
    step = (high - low) / 255
    levels = ((images - low) / torch.where(step > 0, step, 1)).round()
    return {"images": levels.clamp(0, 255).to(torch.uint8), "low": low, "step": step}


def decoded(synthetic: Weights) -> Tensor:
    """Return the images that :func:`encoded` was given, as near as their coding allows."""
    images = synthetic["images"].float()
    return images * synthetic["step"] + synthetic["low"] if "step" in synthetic else images
