"""A plug-in that breaks the rule: it asks targets to train as if they were sources."""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.strategy import Strategy
from fedsim.wire import ClientInfo


@dataclass(frozen=True)
class AsksAll(Strategy):
    """FedAvg that asks targets too."""

    def participates(self, phase: str, client: ClientInfo) -> bool:
        return True
