"""What JAN and IWJAN share on the server: a bandwidth, and each role's mean embedding."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge

from fedsim.adapt.adversary import ramp
from fedsim.adapt.embedding_messages import EmbeddingReply, FeatureSpread, JointEmbeddingTerms
from fedsim.adapt.features import mean_squared_distance
from fedsim.strategies._domains import (
    OfDomains,
    added,
    by_role,
    check_roles,
    classifier_shape,
)
from fedsim.strategy import Server, ServerState
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update

__all__ = ["Joint"]


@dataclass(frozen=True)
class Joint(OfDomains):
    """The model moves by the sum of the roles' mean updates; means go down once a round."""

    trade_off: Annotated[float, Ge(0)] = 1.0
    """What the distance of the embeddings counts beside the classification loss."""
    features: Annotated[int, Ge(1)] = 128
    """Random frequencies for each of the five bandwidths; a mean has ten times as many values."""
    warm_up: Annotated[int, Ge(0)] = 5
    """Rounds before the distance counts."""
    ramp_rounds: Annotated[int, Ge(1)] = 40
    """Rounds in which it comes to count in full."""
    client: ClassVar[str] = "joint_embedding"

    def phases(self) -> Sequence[str]:
        """Return: the features' spread, the mean embeddings, local training."""
        return ("spread", "embedding", "train")

    def begin(
        self, weights: Mapping[str, torch.Tensor], clients: Sequence[ClientInfo]
    ) -> ServerState:
        """Choose the seed of the random features, a function of the first weights.

        Raises:
            RunError: if a role has no client, or the model no ``head``.
        """
        check_roles(clients, type(self).__name__)
        classifier_shape(dict(weights), type(self).__name__)
        seed = zlib.crc32(weights["head.weight"].detach().cpu().numpy().tobytes())
        return ServerState(dict(weights), len(clients), plain={"seed": seed})

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send the model, how to make features, and in training the other role's mean."""
        if state.phase == "spread" or "bandwidth" not in state.plain:
            return Broadcast(state.weights)
        progress = (state.round - self.warm_up) / self.ramp_rounds
        other_role = "target" if to.role == "source" else "source"
        terms = JointEmbeddingTerms(
            features=self.features,
            bandwidth=state.number("bandwidth"),
            seed=int(state.number("seed")),
            strength=self.trade_off * ramp(progress),
            other=state.memory.get(f"mean.{other_role}") if state.phase == "train" else None,
        )
        return terms.to_broadcast(state.weights)

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add the spreads of all, and everything else role by role."""
        reply = EmbeddingReply.from_update(update, self.client)
        parts = by_role(update, client, embedding=reply.embedding)
        if reply.spread is not None and update.examples:
            parts["spread"] = Addend(reply.spread, 1.0)
        return parts

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Find the bandwidth, keep the means, or move the model."""
        if state.phase == "train":
            return state.moved(added(merged, "delta"))
        memory = dict(state.memory)
        if state.phase == "spread" and "spread" in merged.means:
            spread = FeatureSpread.from_weights(merged.total("spread"))
            count = max(float(spread.count), 2.0)
            width = mean_squared_distance(spread.sum, float(spread.squares), count)
            state = state.noting(bandwidth=max(width, 1e-12))
        for role in ("source", "target"):
            if (mean := merged.means.get(f"embedding.{role}")) is not None:
                memory[f"mean.{role}"] = mean
        return replace(state, memory=memory)
