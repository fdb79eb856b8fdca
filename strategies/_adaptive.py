"""The adaptive server optimisers' common part: all but the second moment.

References:
    Reddi, Charles, Zaheer, Garrett, Rush, Konečný, Kumar, McMahan, "Adaptive Federated
    Optimization", ICLR 2021, arXiv:2003.00295, Algorithm 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor

from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import ClientInfo, Merged, Weights

__all__ = ["AdaptiveServer"]


@dataclass(frozen=True)
class AdaptiveServer(Strategy):
    """FedAvg whose step divides by the root of a second moment: ``w + lr * m / (sqrt(v) + tau)``.

    As in the paper the moments are not corrected for their start, and ``v`` starts at
    ``tau^2``.  The clients are weighted by their examples.
    """

    server_lr: Annotated[float, Gt(0)] = 0.01
    """The server's step size: about how far each weight moves in a round."""
    beta1: Annotated[float, Ge(0), Lt(1)] = 0.9
    """How much of the last first moment is kept."""
    tau: Annotated[float, Gt(0)] = 1e-3
    """How adaptive: coordinates that move by much less than this are not sped up."""

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Return the state with ``m = 0`` and ``v = tau^2``, both in float64."""
        wide = torch.float64
        memory = {
            "first": {name: torch.zeros_like(w, dtype=wide) for name, w in weights.items()},
            "second": {
                name: torch.full_like(w, self.tau**2, dtype=wide) for name, w in weights.items()
            },
        }
        return ServerState(weights, len(clients), memory)

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Update the moments, and move the weights by their quotient."""
        first, second, steps = {}, {}, {}
        for name, delta in merged.delta.items():
            m = self.beta1 * state.memory["first"][name] + (1 - self.beta1) * delta
            v = self.second_moment(state.memory["second"][name], delta)
            first[name], second[name] = m, v
            steps[name] = self.server_lr * m / (v.sqrt() + self.tau)
        return state.moved(steps, first=first, second=second)

    def second_moment(self, before: Tensor, delta: Tensor) -> Tensor:
        """Return ``v`` after a round that moved one tensor of weights by ``delta``."""
        raise NotImplementedError(f"{type(self).__name__} has no second moment")
