"""What every reference model is: a body that makes features, and a linear head on them."""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["SplitModel"]


class SplitModel(nn.Module):
    """A classifier in two parts, for the methods that compare or share features.

    Args:
        body: from inputs `(n, *shape)` to anything that flattens to `(n, width)`.
        width: how many features the body makes of one example.
        classes: how many logits the head makes of them.
    """

    def __init__(self, body: nn.Module, width: int, classes: int) -> None:
        super().__init__()
        self.body = body
        self.head = nn.Linear(width, classes)  # (n, width) -> (n, classes)

    def features(self, inputs: Tensor) -> Tensor:
        """Return what the head sees of ``inputs``, `(n, width)`."""
        made: Tensor = self.body(inputs)
        return made.flatten(1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits, `(n, classes)`."""
        logits: Tensor = self.head(self.features(inputs))
        return logits
