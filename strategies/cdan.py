"""CDAN: features that no discriminator can tell apart, given what is predicted of them.

References:
    Long, Cao, Wang, Jordan, "Conditional Adversarial Domain Adaptation", NeurIPS 2018,
    arXiv:1705.10667.  The paper has one machine; both federated forms are ours.  Its random map
    for wide products is not offered, and entropies are normalised within each client's batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedsim.strategies._adversarial import AdversarialStrategy
from fedsim.wire import Setting

__all__ = ["Cdan"]


@dataclass(frozen=True)
class Cdan(AdversarialStrategy):
    """The discriminator sees predicted class times feature; predictions get no gradient of it."""

    entropy: bool = False
    """CDAN+E: examples that are predicted with certainty count up to twice as much."""

    def how(self) -> Mapping[str, Setting]:
        """Ask for the product."""
        return {"conditional": True, "entropy": self.entropy}
