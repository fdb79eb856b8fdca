"""FedDM on sets that clients make from noisy mean embeddings: experimental, and private only.

References:
    Xiong et al., "FedDM", CVPR 2023, arXiv:2207.09653, for the server; the clients' half is ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedsim.strategies.feddm import FedDM

__all__ = ["FedDMME"]


@dataclass(frozen=True)
class FedDMME(FedDM):
    """FedDM whose clients release a few noisy means per round in place of noisy steps."""

    client: ClassVar[str] = "mean_embeddings"
