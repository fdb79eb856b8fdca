"""FedAvgM: momentum at the server, along the averaged delta.

References:
    Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated
    Visual Classification", 2019, arXiv:1909.06335.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Merged

__all__ = ["FedAvgM"]


@dataclass(frozen=True)
class FedAvgM(Strategy):
    """FedAvg whose step is ``v = beta * v + delta``, then ``w = w + server_lr * v``.

    With ``beta = 0`` and ``server_lr = 1`` it is FedAvg.
    """

    beta: Annotated[float, Ge(0), Lt(1)] = 0.9
    """How much of the last velocity is kept."""
    server_lr: Annotated[float, Gt(0)] = 1.0
    """The server's step size."""

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move along the velocity, and remember it."""
        last = state.memory.get("velocity", {})
        velocity = {
            name: self.beta * last[name] + delta if name in last else delta
            for name, delta in merged.delta.items()
        }
        scaled = {name: self.server_lr * v for name, v in velocity.items()}
        return state.moved(scaled, velocity=velocity)
