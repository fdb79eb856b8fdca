"""IWDAN: DANN with class weights, for label shift between domains.

References:
    Tachet des Combes, Zhao, Wang, Gordon, "Domain Adaptation with Conditional Distribution
    Matching and Generalized Label Shift", NeurIPS 2020, arXiv:2003.04475, Algorithm 1.  The paper
    has one machine and one source; the federated form, the late start, the shrinking and the law
    that sources share are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.strategies._adversarial import AdversarialStrategy
from fedsim.strategies._reweighted import Reweighted

__all__ = ["Iwdan"]


@dataclass(frozen=True)
class Iwdan(Reweighted, AdversarialStrategy):
    """Equation 7: source examples count by their class ratio before the discriminator."""

    client: ClassVar[str] = "adversarial"
