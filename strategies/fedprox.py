"""FedProx: a proximal term keeps each client near the global model while it trains.

References:
    Li, Sahu, Zaheer, Sanjabi, Talwalkar, Smith, "Federated Optimization in Heterogeneous
    Networks", MLSys 2020, arXiv:1812.06127.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from annotated_types import Ge

from fedsim.messages import ProximalTerm
from fedsim.strategy import ServerState, Strategy
from fedsim.wire import Broadcast, ClientInfo

__all__ = ["FedProx"]


@dataclass(frozen=True)
class FedProx(Strategy):
    """Algorithm 2 of the paper, averaged as FedAvg does, by examples.

    With ``mu = 0`` it is FedAvg.
    """

    mu: Annotated[float, Ge(0)] = 0.01
    """The strength of the proximal term, ``mu/2`` times the squared distance."""
    client: ClassVar[str] = "proximal"

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send the weights, and how strongly to hold on to them."""
        return ProximalTerm(self.mu).to_broadcast(state.weights)
