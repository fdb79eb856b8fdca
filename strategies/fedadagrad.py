"""FedAdagrad: Adagrad at the server, along the averaged delta.

References:
    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021, arXiv:2003.00295, Algorithm 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt
from torch import Tensor

from fedsim.strategies._adaptive import AdaptiveServer

__all__ = ["FedAdagrad"]


@dataclass(frozen=True)
class FedAdagrad(AdaptiveServer):
    """``v = v + delta^2``, a sum over all rounds, so that the steps shrink."""

    server_lr: Annotated[float, Gt(0)] = 0.1
    """The server's step size: about how far each weight moves in the first round."""
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.0
    """How much of the last first moment is kept; Adagrad keeps none."""

    def second_moment(self, before: Tensor, delta: Tensor) -> Tensor:
        """Return ``v + delta^2``."""
        return before + delta**2
