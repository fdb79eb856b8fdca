"""The contract of a rule for the end of a turn, by the loss on the client's validation part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["StopRule"]


@dataclass(frozen=True)
class StopRule:
    """When a client ends its turn before its last epoch; its fields are what a scenario may set."""

    on: Literal["val"] = "val"
    """What it judges by: the client's own validation part, on which nothing is trained."""

    def is_over(self, losses: Sequence[float]) -> bool:
        """Return whether the turn ends here.

        Args:
            losses: the mean loss on the validation part after each epoch so far; never empty.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method is_over")
