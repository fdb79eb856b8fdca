"""ResNet-18 with group norm, for small images or large ones."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from annotated_types import Ge
from torch import nn

from fedsim.models._images import image_shape
from fedsim.models._residual import ResidualBlock
from fedsim.models._split import SplitModel

__all__ = ["ResNet18GN"]


class ResNet18GN(SplitModel):
    """Eighteen layers: a stem, four stages of two blocks, and a linear head.

    11,173,962 parameters for ten classes with the small stem, 11,181,642 with the large one.

    References:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016,
        arXiv:1512.03385, table 1; Wu, He, "Group Normalization", ECCV 2018, arXiv:1803.08494; as in
        Reddi et al., "Adaptive Federated Optimization", ICLR 2021, arXiv:2003.00295, appendix C,
        where batch norm is replaced for the same reason.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are to tell apart.
        stem: What comes first: small, a 3 x 3 convolution, for images of some 32 pixels; large, a
            7 x 7 one with stride 2 and a pooling, as for ImageNet.
        groups: Groups of every norm; they must divide 64.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        stem: Literal["small", "large"] = "small",
        groups: Annotated[int, Ge(1)] = 32,
    ) -> None:
        channels, _, _ = image_shape(shape, at_least=8, model="resnet18_gn")
        if 64 % groups:
            raise ValueError(f"resnet18_gn: 64 channels cannot be split into {groups} groups")
        widths = (64, 64, 128, 256, 512)
        stages = [
            block
            for before, after in pairwise(widths)
            for block in (
                ResidualBlock(before, after, 1 if before == after else 2, groups),
                ResidualBlock(after, after, 1, groups),
            )
        ]
        first = [
            nn.Conv2d(channels, 64, 3, padding=1, bias=False)
            if stem == "small"
            else nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
            nn.GroupNorm(groups, 64),
            nn.ReLU(),
        ]
        pooled = [] if stem == "small" else [nn.MaxPool2d(3, stride=2, padding=1)]
        body = nn.Sequential(*first, *pooled, *stages, nn.AdaptiveAvgPool2d(1))
        super().__init__(body, widths[-1], classes)
