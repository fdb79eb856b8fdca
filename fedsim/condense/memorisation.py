"""How near synthetic images come to the real ones that they were made from."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from fedsim.condense.by_class import ByClass

__all__ = ["nearest_distances"]


def nearest_distances(images: Tensor, examples: ByClass) -> dict[str, float]:
    """Return the mean distance to the nearest real example of the same class, as two metrics.

    ``nearest`` is that of the synthetic images; ``nearest_real`` that of as many real ones to
    the nearest *other* real one.  Distances are root mean squares over the pixels.  A ``nearest``
    far below ``nearest_real`` means that images were copied.

    Args:
        images: of the client, `(classes, per class, *features)`.
        examples: what they were made from.
    """
    per_class = images.shape[1]
    owner = examples.owner
    # The last of each class: the first ones may be those that images began as.
    chosen = (
        (examples.starts + examples.sizes)[:, None]
        - 1
        - torch.arange(per_class, device=owner.device)
    )
    chosen = torch.unique(chosen.maximum(examples.starts[:, None]))
    real, flat = examples.inputs.flatten(1), images.flatten(0, 1).flatten(1)
    label = torch.arange(len(examples.sizes), device=owner.device).repeat_interleave(per_class)
    is_other = torch.arange(len(real), device=owner.device) != chosen[:, None]
    return {
        "nearest": _mean_nearest(flat, real, label[:, None] == owner),
        "nearest_real": _mean_nearest(
            real[chosen], real, (owner[chosen, None] == owner) & is_other
        ),
    }


def _mean_nearest(rows: Tensor, real: Tensor, allowed: Tensor) -> float:
    """Return the mean over ``rows`` of the distance to the nearest that is allowed to it."""
    # Differences, not the product form of the distance, which loses small ones to rounding.
    distances = torch.cdist(rows, real, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = distances.masked_fill(~allowed, torch.inf).amin(dim=1)
    return float(nearest[nearest.isfinite()].mean()) / math.sqrt(real.shape[1])
