"""CDAN: adversarial domain adaptation, conditioned on the model's predictions.

References:
    Long, Cao, Wang, Jordan, "Conditional Adversarial Domain Adaptation", NeurIPS 2018,
    arXiv:1705.10667.  The paper has one machine; both federated forms are ours.  Its random map
    for wide products is not offered, and entropies are normalised within each client's batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.strategies._adversarial import AdversarialStrategy

__all__ = ["Cdan"]


@dataclass(frozen=True)
class Cdan(AdversarialStrategy):
    """The discriminator sees predicted class times feature; predictions get no gradient of it."""

    entropy: bool = False
    """CDAN+E: examples that are predicted with certainty count up to twice as much."""

    is_conditional: ClassVar[bool] = True

    @property
    def is_entropic(self) -> bool:
        """Whether examples count by how certain their prediction is."""
        return self.entropy
