"""ConvNet: the network of dataset condensation and of FedDM."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from torch import nn

from fedsim.models._halving import Halving
from fedsim.models._images import image_shape
from fedsim.models._split import SplitModel

__all__ = ["ConvNet"]

GROUPS = 4


class ConvNet(SplitModel):
    """Blocks of convolution, norm, ReLU and average pooling, and a linear head.

    Images of 28 by 28 pixels are padded to 32, as in the papers' code.

    References:
        Zhao, Mopuri, Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021,
        arXiv:2006.05929; Xiong, Wang, Cheng, Yu, Hsieh, "FedDM: Iterative Distribution
        Matching for Communication-Efficient Federated Learning", CVPR 2023, arXiv:2207.09653.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are to tell apart.
        depth: How many blocks; each halves the image's sides.
        width: Channels of every block.
        norm: Normalise each channel by itself (instance), in 4 groups (group), or not.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        depth: Annotated[int, Ge(1)] = 3,
        width: Annotated[int, Ge(1)] = 128,
        norm: Literal["instance", "group", "none"] = "instance",
    ) -> None:
        channels, high, wide = image_shape(shape, at_least=2**depth, model="convnet")
        if norm == "group" and width % GROUPS:
            raise ValueError(f"convnet: width {width} cannot be split into {GROUPS} groups")
        padding = 3 if (high, wide) == (28, 28) else 1
        high, wide = high + 2 * (padding - 1), wide + 2 * (padding - 1)
        layers: list[nn.Module] = []
        for block in range(depth):
            before, around = (width, 1) if block else (channels, padding)
            layers.append(nn.Conv2d(before, width, 3, padding=around))
            if norm != "none":
                layers.append(nn.GroupNorm(width if norm == "instance" else GROUPS, width))
            layers += [nn.ReLU(), Halving()]
        features = width * (high >> depth) * (wide >> depth)
        super().__init__(nn.Sequential(*layers), features, classes)
