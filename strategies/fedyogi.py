"""FedYogi: Yogi at the server: Adam whose second moment moves by bounded amounts.

References:
    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021, arXiv:2003.00295, Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from fedsim.strategies._adaptive import AdaptiveServer

__all__ = ["FedYogi"]


@dataclass(frozen=True)
class FedYogi(AdaptiveServer):
    """``v = v - (1 - beta2) * delta^2 * sign(v - delta^2)``, which forgets slower than Adam."""

    beta2: Annotated[float, Ge(0), Lt(1)] = 0.99
    """One minus how much of the squared delta the second moment may move by."""

    def second_moment(self, before: Tensor, delta: Tensor) -> Tensor:
        """Return ``v - (1 - beta2) * delta^2 * sign(v - delta^2)``."""
        square = delta**2
        return before - (1 - self.beta2) * square * torch.sign(before - square)
