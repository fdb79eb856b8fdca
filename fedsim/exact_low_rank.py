"""Low-rank adapters averaged exactly: the server adds what the mean of two factors misses.

The mean of products is not the product of means.  With ``A_i = A + a_i`` and ``B_i = B + b_i`` the
difference does not depend on A and B, only on how far the clients moved them:

    sum_i p_i B_i A_i - (sum_i p_i B_i)(sum_i p_i A_i)
        = sum_i p_i b_i a_i - (sum_i p_i b_i)(sum_i p_i a_i)

References:
    Singhal, Ponkshe, Vepakomma, "FedEx-LoRA: Exact Aggregation for Federated and Efficient
    Fine-Tuning of Foundation Models", arXiv:2410.09432, equations 8 to 10.  There clients add the
    residual to W themselves; here it is a part of the adapter, so that W never travels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fedsim.messages import LowRankResidual
from fedsim.strategy import ReplySpec, Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["ExactLowRank"]

A, B, RESIDUAL = ".lora_a", ".lora_b", ".lora_residual"
"""How the names of an adapter's tensors end."""
PRODUCTS = "products"


@dataclass(frozen=True)
class ExactLowRank(Strategy):
    """A strategy whose new weights are the clients' mean, made exact for low-rank adapters."""

    inner: Strategy
    scale: float
    """Of the products in the weights: alpha over the rank."""

    def phases(self) -> Sequence[str]:
        """Return the exchanges of one round."""
        return self.inner.phases()

    def participates(self, phase: str, client: ClientInfo) -> bool:
        """Return whether ``client`` takes part in ``phase``."""
        return self.inner.participates(phase, client)

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Return the state before round 1: there is no residual yet."""
        return self.inner.begin(weights, clients)

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send what the strategy sends, and the residuals of all rounds so far."""
        broadcast = self.inner.broadcast(state, to)
        if RESIDUAL not in state.memory:
            return broadcast
        residual = LowRankResidual(state.memory[RESIDUAL]).to_extras()
        return replace(broadcast, extras={**broadcast.extras, **residual})

    def fault(self, update: Update, spec: ReplySpec) -> str:
        """Return why an update cannot be used; empty if it can."""
        return self.inner.fault(update, spec)

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add ``b_i a_i``, in float64, beside what the strategy adds: worked out from the delta."""
        addends = dict(self.inner.addends(update, client))
        products = {
            name.removesuffix(B): moved.double() @ update.delta[name.removesuffix(B) + A].double()
            for name, moved in update.delta.items()
            if name.endswith(B)
        }
        return {**addends, PRODUCTS: Addend(products, addends["delta"].weight)}

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move the factors as the strategy does, and the residual by what their means miss."""
        before = state.memory.get(RESIDUAL, {})
        residual: Weights = {}
        for stem, mean in merged.means[PRODUCTS].items():
            missed = self.scale * (mean - merged.delta[stem + B] @ merged.delta[stem + A])
            if len(merged.clients) == 1:  # its own means miss nothing, but for rounding
                missed = torch.zeros_like(missed)
            name = stem + RESIDUAL
            like = state.weights[stem + B]
            residual[name] = _added(before.get(name), missed).to(like.dtype)
        moved = self.inner.step(state, merged, server)
        return replace(moved, memory={**moved.memory, RESIDUAL: residual})

    def evaluate(self, state: ServerState) -> Weights:
        """Return the weights that are judged, with the residuals."""
        return {**self.inner.evaluate(state), **state.memory.get(RESIDUAL, {})}


def _added(before: Tensor | None, missed: Tensor) -> Tensor:
    return missed if before is None else before.double() + missed
