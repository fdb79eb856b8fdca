"""Networks that adaptation cannot use: one mixes the examples of a batch, one has no embedding."""

from __future__ import annotations

import math

from torch import nn

from fedsim.models._split import SplitModel


class Normed(SplitModel):
    """A hidden layer with batch normalisation.

    Args:
        shape: of one example.
        classes: how many there are to tell apart.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        width = math.prod(shape)
        body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(width), nn.Linear(width, 8), nn.ReLU())
        super().__init__(body, 8, classes)


class Flat(nn.Sequential):
    """A classifier in one piece.

    Args:
        shape: of one example.
        classes: how many there are to tell apart.
    """

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(math.prod(shape), classes))
