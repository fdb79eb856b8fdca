"""FedTrimmedAvg: the coordinate-wise trimmed mean of the clients' updates.

References:
    Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018, arXiv:1803.01498, Algorithm 1, Option II.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt

from fedsim.aggregate import trimmed_mean
from fedsim.strategy import Strategy
from fedsim.wire import Merged, Update

__all__ = ["FedTrimmedAvg"]


@dataclass(frozen=True)
class FedTrimmedAvg(Strategy):
    """The mean of the deltas without the lowest and the highest of each coordinate.

    Clients count alike, but for those without examples, which do not count.  With ``trim = 0``
    it is FedAvg over clients of equal size.
    """

    trim: Annotated[float, Ge(0), Lt(0.5)] = 0.1
    """The share of the cohort left out at each end, rounded down to whole clients."""

    def aggregate(self, updates: Sequence[Update]) -> Merged:
        """Return the coordinate-wise trimmed mean."""
        usable = [update for update in updates if update.examples > 0]
        # 0.29 * 100 is a little less than 29 in floating point.
        trim = math.floor(self.trim * len(usable) + 1e-9)
        clients = tuple(sorted(update.client for update in usable))
        return Merged({"delta": trimmed_mean(usable, trim)}, {"delta": len(usable)}, clients)
