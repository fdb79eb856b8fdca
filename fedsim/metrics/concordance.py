"""Sums behind the concordance of survival times, over pairs of one client's examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.metrics.scored import ScoredBatch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Concordance"]


@dataclass(frozen=True)
class Concordance:
    """Comparable pairs: one had the event, and the other's time is longer, or equal and censored.

    Two events at the same time are no pair.  Risks are ``scores``: higher means an earlier event.

    References:
        Harrell, Lee, Mark, "Multivariable prognostic models", Statistics in Medicine 15, 1996,
        section 5.5.
    """

    name: str = "concordance"

    def sums(self, batch: ScoredBatch) -> Mapping[str, Tensor]:
        """Return ``concordant``, ``tied`` and ``comparable`` pairs of this batch alone."""
        time, event = batch.targets[:, 0], batch.targets[:, 1] > 0
        risk = batch.predictions["scores"]
        counts = time.new_zeros(3, dtype=risk.new_zeros(0).long().dtype)
        for at in event.nonzero()[:, 0]:  # a row at a time: n pairs, not n^2, in memory
            later = (time > time[at]) | ((time == time[at]) & ~event)
            counts[0] += (later & (risk < risk[at])).sum()
            counts[1] += (later & (risk == risk[at])).sum()
            counts[2] += later.sum()
        return dict(zip(("concordant", "tied", "comparable"), counts, strict=True))
