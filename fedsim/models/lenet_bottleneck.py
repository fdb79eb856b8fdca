"""LeNet with a narrow linear layer before its head, for methods that measure distances there."""

from __future__ import annotations

from typing import Annotated

from annotated_types import Ge
from torch import nn

from fedsim.models._split import SplitModel
from fedsim.models.lenet import lenet_body

__all__ = ["LeNetBottleneck"]


class LeNetBottleneck(SplitModel):
    """:class:`~fedsim.models.lenet.LeNet` of kernel 3, whose features are few and of either sign.

    Args:
        shape: of one image: channels, height, width.
        classes: how many there are to tell apart.
        channels: The two convolutions' widths.
        hidden: Width of the hidden linear layer.
        embedding: Width of the linear layer after it, which no ReLU follows.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        channels: tuple[Annotated[int, Ge(1)], Annotated[int, Ge(1)]] = (16, 32),
        hidden: Annotated[int, Ge(1)] = 128,
        embedding: Annotated[int, Ge(1)] = 32,
    ) -> None:
        body, width = lenet_body(shape, channels, (hidden,), kernel=3)
        super().__init__(body.append(nn.Linear(width, embedding)), embedding, classes)
