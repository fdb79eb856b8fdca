"""ResNet-8 with group norm: the smallest residual network, safe to average."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import nn

from fedsim.models._images import image_shape
from fedsim.models._residual import ResidualBlock
from fedsim.models._split import SplitModel

__all__ = ["ResNet8GN"]


class ResNet8GN(SplitModel):
    """The CIFAR form of ResNet at one block per stage, its batch norms replaced.

    Batch norm's running statistics do not survive averaging over clients whose data differ
    (Hsieh et al. 2020), and couple the examples of a batch.

    References:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        arXiv:1512.03385, section 4.2 with n = 1; Wu, He, "Group Normalization", ECCV 2018,
        arXiv:1803.08494; Hsieh, Phanishayee, Mutlu, Gibbons, "The Non-IID Data Quagmire of
        Decentralized Machine Learning", ICML 2020, arXiv:1910.00189.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are to tell apart.
        width: Channels of the first stage; each later one has twice as many.
        groups: Groups of every norm; they must divide the width.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        width: Annotated[int, Ge(1)] = 16,
        groups: Annotated[int, Ge(1)] = 8,
    ) -> None:
        channels, _, _ = image_shape(shape, at_least=8, model="resnet8_gn")
        if width % groups:
            raise ValueError(f"resnet8_gn: width {width} cannot be split into {groups} groups")
        body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.GroupNorm(groups, width),
            nn.ReLU(),
            ResidualBlock(width, width, 1, groups),
            ResidualBlock(width, 2 * width, 2, groups),
            ResidualBlock(2 * width, 4 * width, 2, groups),
            nn.AdaptiveAvgPool2d(1),
        )
        super().__init__(body, 4 * width, classes)
