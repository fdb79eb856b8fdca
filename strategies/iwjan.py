"""IWJAN: JAN with class weights, for label shift between domains.

References:
    Tachet des Combes, Zhao, Wang, Gordon, "Domain Adaptation with Conditional Distribution
    Matching and Generalized Label Shift", NeurIPS 2020, arXiv:2003.04475, equation 22; Long, Zhu,
    Wang, Jordan, ICML 2017, arXiv:1605.06636.  The federated form, random features, the late
    start, the shrinking and the law that sources share are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.strategies._joint import Joint
from fedsim.strategies._reweighted import Reweighted

__all__ = ["Iwjan"]


@dataclass(frozen=True)
class Iwjan(Reweighted, Joint):
    """Source examples count by their class ratio in the source's mean embedding."""

    client: ClassVar[str] = "joint_embedding"
