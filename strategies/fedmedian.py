"""FedMedian: the coordinate-wise median of the clients' updates.

References:
    Yin, Chen, Ramchandran, Bartlett, "Byzantine-Robust Distributed Learning: Towards Optimal
    Statistical Rates", ICML 2018, arXiv:1803.01498, Algorithm 1, Option I.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedsim.aggregate import median
from fedsim.strategy import Strategy
from fedsim.wire import Merged, Update

__all__ = ["FedMedian"]


@dataclass(frozen=True)
class FedMedian(Strategy):
    """The median of the deltas: fewer than half the clients cannot carry it away.

    Clients count alike, but for those without examples, which do not count.  With one client, or
    two that hold equally many examples, it is FedAvg.
    """

    def aggregate(self, updates: Sequence[Update]) -> Merged:
        """Return the coordinate-wise median; of an even number, the mean of the middle two."""
        usable = [update for update in updates if update.examples > 0]
        clients = tuple(sorted(update.client for update in usable))
        return Merged({"delta": median(usable)}, {"delta": len(usable)}, clients)
