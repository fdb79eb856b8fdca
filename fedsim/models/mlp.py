"""A multi-layer perceptron: for inputs of any shape, which it flattens."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated

from annotated_types import Ge
from torch import nn

from fedsim.models._split import SplitModel

__all__ = ["MLP"]


class MLP(SplitModel):
    """Fully connected layers with ReLU between them; without hidden ones, softmax regression.

    Args:
        shape: of one example.
        classes: how many there are to tell apart.
        hidden: The hidden layers' widths, from the input on; may be empty.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        classes: int,
        *,
        hidden: tuple[Annotated[int, Ge(1)], ...] = (100,),
    ) -> None:
        widths = (math.prod(shape), *hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        super().__init__(nn.Sequential(*layers), widths[-1], classes)
