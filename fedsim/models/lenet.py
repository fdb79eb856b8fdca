"""LeNet: two convolutions and a few linear layers, for small images."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated

from annotated_types import Ge
from torch import nn

from fedsim.models._images import image_shape
from fedsim.models._split import SplitModel

__all__ = ["LeNet", "lenet_body"]


class LeNet(SplitModel):
    """The layers of LeNet-5, with ReLU and maximum pooling in the place of its own.

    Images too small for two unpadded convolutions (with kernel 5: below 16 pixels) are padded,
    so that only the pooling shrinks them.

    References:
        LeCun, Bottou, Bengio, Haffner, "Gradient-Based Learning Applied to Document
        Recognition", Proceedings of the IEEE 1998.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are to tell apart.
        channels: The two convolutions' widths.
        hidden: The hidden linear layers' widths; may be empty.
        kernel: The convolutions' kernel size, odd.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        channels: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (6, 16),
        hidden: tuple[Annotated[int, Ge(1)], ...] = (120, 84),
        kernel: Annotated[int, Ge(1)] = 5,
    ) -> None:
        body, width = lenet_body(shape, channels, hidden, kernel)
        super().__init__(body, width, classes)


def lenet_body(
    shape: tuple[int, ...], channels: tuple[int, int], hidden: tuple[int, ...], kernel: int
) -> tuple[nn.Sequential, int]:
    """Return all layers but the head, and how many features they make; see :class:`LeNet`."""
    depth, *sides = image_shape(shape, at_least=4, model="lenet")
    if kernel % 2 == 0:
        raise ValueError(f"lenet: kernel is {kernel}, and must be odd")
    padding = kernel // 2 if min(_shrunk(side, kernel - 1) for side in sides) < 1 else 0
    high, wide = (_shrunk(side, kernel - 1 - 2 * padding) for side in sides)
    layers: list[nn.Module] = []
    for before, after in pairwise((depth, *channels)):
        layers += [nn.Conv2d(before, after, kernel, padding=padding), nn.ReLU()]
        layers += [nn.MaxPool2d(2)]
    layers += [nn.Flatten()]
    widths = (channels[1] * high * wide, *hidden)
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers), widths[-1]


def _shrunk(side: int, lost: int) -> int:
    """Return ``side`` after two convolutions that lose so many pixels, each pooled."""
    return ((side - lost) // 2 - lost) // 2
