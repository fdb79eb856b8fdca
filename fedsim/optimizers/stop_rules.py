"""The shelf of rules for the end of a turn: patience."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

from fedsim.optimizers.stop_rule import StopRule

__all__ = ["Patience"]


@dataclass(frozen=True)
class Patience(StopRule):
    """Ends the turn when the loss has not fallen for so many epochs in a row.

    References:
        Prechelt, "Early Stopping - But When?", in: Neural Networks: Tricks of the Trade, LNCS
        1524, 1998: the third class of criteria, with strips of one epoch.
    """

    patience: Annotated[int, Ge(1)] = 2
    """How many epochs in a row may pass without a lower loss than the lowest so far."""

    def is_over(self, losses: Sequence[float]) -> bool:
        """Return whether the lowest loss is ``patience`` epochs ago; what is no number is high."""
        known = [math.inf if math.isnan(loss) else loss for loss in losses]
        return len(known) - 1 - known.index(min(known)) >= self.patience
