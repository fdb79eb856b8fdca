"""DANN: adversarial domain adaptation with a domain discriminator.

References:
    Ganin, Ustinova, Ajakan, Germain, Larochelle, Laviolette, Marchand, Lempitsky,
    "Domain-Adversarial Training of Neural Networks", JMLR 2016, arXiv:1505.07818.  The paper has
    one machine; both federated forms are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.strategies._adversarial import AdversarialStrategy

__all__ = ["Dann"]


@dataclass(frozen=True)
class Dann(AdversarialStrategy):
    """The discriminator sees features; with ``trade_off = 0`` sources alone move the model."""
