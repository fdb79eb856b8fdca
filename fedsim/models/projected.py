"""A linear classifier on a subspace of unit-length inputs: what JDME gives."""

from __future__ import annotations

import math
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Projected"]


class Projected(nn.Module):
    """Inputs of length one, projected, brought to length one again, and a linear head.

    Args:
        shape: of one example.
        classes: how many there are to tell apart.
        dimensions: Dimensions of the subspace; at most as many as an example has values.
    """

    def __init__(
        self, shape: tuple[int, ...], classes: int, *, dimensions: Annotated[int, Ge(1)] = 20
    ) -> None:
        super().__init__()
        width = math.prod(shape)
        if dimensions > width:
            raise ValueError(f"projected: {dimensions} dimensions of {width} values an example")
        self.basis = nn.Parameter(torch.empty(width, dimensions))
        nn.init.orthogonal_(self.basis)
        self.head = nn.Linear(dimensions, classes)

    def features(self, inputs: Tensor) -> Tensor:
        """Return the unit-length projections, `(n, dimensions)`."""
        return F.normalize(F.normalize(inputs.flatten(1)) @ self.basis)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, classes)`."""
        logits: Tensor = self.head(self.features(inputs))
        return logits
