"""Gradients cut to a length: one norm over all trained weights of a client.

References:
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML
    2013, Algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.wire import Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["clip", "clip_stacked"]


def clip(gradients: Weights, most: float) -> None:
    """Shorten one client's gradients, all together and in place, to the norm ``most``."""
    import torch

    if not gradients:
        return
    length = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    scale = _scale(length, most)
    for gradient in gradients.values():
        gradient.mul_(scale)


def clip_stacked(gradients: Weights, most: float) -> None:
    """Do the same for each of several clients; gradients are `(clients, *shape)`."""
    import torch

    if not gradients:
        return
    lengths = [gradient.flatten(1).norm(dim=1) for gradient in gradients.values()]
    scale = _scale(torch.stack(lengths, dim=1).norm(dim=1), most)
    for gradient in gradients.values():
        gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))


def _scale(length: Tensor, most: float) -> Tensor:
    return (most / length.clamp(min=1e-12)).clamp(max=1)
