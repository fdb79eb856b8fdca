"""FedAdam: Adam at the server, along the averaged delta.

References:
    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021, arXiv:2003.00295, Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Lt
from torch import Tensor

from fedsim.strategies._adaptive import AdaptiveServer

__all__ = ["FedAdam"]


@dataclass(frozen=True)
class FedAdam(AdaptiveServer):
    """``v = beta2 * v + (1 - beta2) * delta^2``, an average over the last rounds."""

    beta2: Annotated[float, Ge(0), Lt(1)] = 0.99
    """How much of the last second moment is kept."""

    def second_moment(self, before: Tensor, delta: Tensor) -> Tensor:
        """Return ``beta2 * v + (1 - beta2) * delta^2``."""
        return self.beta2 * before + (1 - self.beta2) * delta**2
