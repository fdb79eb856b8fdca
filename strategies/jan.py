"""JAN: features and predictions whose joint mean embeddings agree in both domains.

References:
    Long, Zhu, Wang, Jordan, "Deep Transfer Learning with Joint Adaptation Networks", ICML 2017,
    arXiv:1605.06636.  The federated form, which estimates the kernel by random features, is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.strategies._joint import Joint

__all__ = ["Jan"]


@dataclass(frozen=True)
class Jan(Joint):
    """The distance is the biased one, to a mean that stays fixed within a round."""
