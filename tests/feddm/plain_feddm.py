"""FedDM's client as the paper writes it, class by class: an oracle, and a text to read.

Xiong et al., "FedDM", CVPR 2023, arXiv:2207.09653.  ``model.features`` is the paper's ``h`` and
``model.head`` after it its logits ``z``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def equation_1(model: Any, images: Sequence[Tensor], real: Sequence[Tensor]) -> Tensor:
    """Return the mismatch: over classes, squared distances of mean features and mean logits.

    Args:
        model: on which both are compared, one of those around the server's.
        images: the synthetic images of each class, `(per class, *features)`.
        real: a batch of each class's real examples, `(n, *features)`.
    """
    loss = torch.zeros(())
    for synthetic, examples in zip(images, real, strict=True):
        h_real, h_synthetic = model.features(examples).detach(), model.features(synthetic)
        z_real, z_synthetic = model.head(h_real).detach(), model.head(h_synthetic)
        loss = loss + (h_real.mean(0) - h_synthetic.mean(0)).pow(2).sum()
        loss = loss + (z_real.mean(0) - z_synthetic.mean(0)).pow(2).sum()
    return loss


def step(model: Any, images: Tensor, real: Sequence[Tensor], lr: float) -> Tensor:
    """Return the images after one step of gradient descent on equation 1."""
    images = images.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(equation_1(model, list(images), real), images)
    return images.detach() - lr * gradient
