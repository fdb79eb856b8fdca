"""FedNova: average updates after dividing each by its number of local steps.

References:
    Wang, Liu, Liang, Joshi, Poor, "Tackling the Objective Inconsistency Problem in
    Heterogeneous Federated Optimization", NeurIPS 2020, arXiv:2007.07481.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from fedsim.messages import EffectiveSteps
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, ClientInfo, Merged, Update

__all__ = ["FedNova"]


@dataclass(frozen=True)
class FedNova(Strategy):
    """``w + tau_eff * sum p_i d_i``, where ``tau_eff = sum p_i a_i`` and ``d_i = delta_i / a_i``.

    ``p_i`` is the client's share of the cohort's examples, ``a_i`` how many plain steps its
    own were worth.  With equal ``a_i`` it is FedAvg.
    """

    client: ClassVar[str] = "normalized"

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add ``d_i`` and ``a_i``, both weighted by examples."""
        worth = EffectiveSteps.from_update(update, sender=self.client)
        per_step = {name: d.double() / worth.count for name, d in update.delta.items()}
        return {
            "delta": Addend(per_step, update.examples),
            "steps": Addend(worth.steps, update.examples),
        }

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move by the mean direction, as far as the mean number of steps."""
        steps = EffectiveSteps(merged.means["steps"]).count
        return state.moved({name: steps * d for name, d in merged.delta.items()})
