"""SCAFFOLD: correct each client's gradients with control variates that estimate its drift.

References:
    Karimireddy, Kale, Mohri, Reddi, Stich, Suresh, "SCAFFOLD: Stochastic Controlled Averaging
    for Federated Learning", ICML 2020, arXiv:1910.06378.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt

from fedsim.messages import ControlVariate
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["Scaffold"]


@dataclass(frozen=True)
class Scaffold(Strategy):
    """Algorithm 1 of the paper; its clients count alike, whatever they hold.

    Where all clients hold the same and draw the same it is FedAvg with ``server_lr``.
    """

    server_lr: Annotated[float, Gt(0)] = 1.0
    """The server's step size."""
    client: ClassVar[str] = "controlled"

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Start with a zero control variate ``c``, as every client does."""
        control = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        return ServerState(weights, len(clients), {"control": control})

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send ``x`` and ``c``."""
        return ControlVariate(state.memory["control"]).to_broadcast(state.weights)

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add ``y_i - x`` and ``c_i+ - c_i``, each once; a client without examples has no say."""
        change = ControlVariate.from_update(update, sender=self.client).control
        return {
            "delta": Addend(update.delta, float(update.examples > 0)),
            "control": Addend(change, 1.0),
        }

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move ``x`` by the cohort's mean, and ``c`` by its sum over all ``N`` (line 17)."""
        change = merged.total("control")
        control = {
            name: (c + change[name] / state.population).to(c.dtype)
            for name, c in state.memory["control"].items()
        }
        scaled = {name: self.server_lr * delta for name, delta in merged.delta.items()}
        return state.moved(scaled, control=control)
