"""IWCDAN: CDAN with class weights, for label shift between domains.

References:
    Tachet des Combes, Zhao, Wang, Gordon, "Domain Adaptation with Conditional Distribution
    Matching and Generalized Label Shift", NeurIPS 2020, arXiv:2003.04475; Long, Cao, Wang,
    Jordan, "Conditional Adversarial Domain Adaptation", NeurIPS 2018, arXiv:1705.10667.  The
    federated form, the late start, the shrinking and the law that sources share are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.strategies._adversarial import AdversarialStrategy
from fedsim.strategies._reweighted import Reweighted

__all__ = ["Iwcdan"]


@dataclass(frozen=True)
class Iwcdan(Reweighted, AdversarialStrategy):
    """Source examples count by their class ratio before CDAN's discriminator."""

    entropy: bool = False
    """Examples that are predicted with certainty count up to twice as much; the sum of these
    weights in the authors' code mixes both domains and is the constant 2 here."""
    client: ClassVar[str] = "adversarial"

    is_conditional: ClassVar[bool] = True

    @property
    def is_entropic(self) -> bool:
        """Whether examples count by how certain their prediction is."""
        return self.entropy
