"""DMPN, reconstructed: both domains' features gather around one prototype a class.

References:
    Zhu et al., "Distribution Matching Prototypical Network for Unsupervised Domain Adaptation",
    submission to ICLR 2020: only its abstract was at hand, and this is a reconstruction of ours,
    on the Gaussian loss of Wan, Zhong, Li, Chen, CVPR 2018, arXiv:1803.02988.  That prototypes
    are means of the sources' features, refreshed each round, and the federated form are ours too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt

from fedsim.adapt.adversary import ramp
from fedsim.adapt.prototype_messages import (
    ClassFeatureSums,
    ClassMeans,
    ClassSumsReply,
    OtherDomain,
    PrototypeTerms,
)
from fedsim.adapt.prototypes import first_prototypes, nearest_head, updated
from fedsim.strategies._domains import OfDomains, added, by_role, check_roles, classifier_shape
from fedsim.strategy import Server, ServerState
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["Dmpn"]


@dataclass(frozen=True)
class Dmpn(OfDomains):
    """The head is the nearest prototype's; a target example counts where its class is sure."""

    mean_matching: Annotated[float, Ge(0)] = 0.1
    """Weight of the distance between a class's means in both domains (GCMM)."""
    likelihood: Annotated[float, Ge(0)] = 0.1
    """Weight of a sure target example's distance to its prototype (PDM)."""
    compactness: Annotated[float, Ge(0)] = 0.01
    """Weight of a source example's distance to its prototype."""
    threshold: Annotated[float, Ge(0), Lt(1)] = 0.9
    """A target example counts where its likeliest class has more probability than this."""
    prototypes: Literal["learnt", "means"] = "learnt"
    """`learnt`: parameters, averaged as the model is; `means`: of the sources' features, refreshed
    in every round."""
    prototype_std: Annotated[float, Gt(0)] | None = None
    """Standard deviation of the first prototypes, 1 for a few features of either sign; null: the
    weights of a new head, or the first means, as features after a ReLU need them."""
    prototype_momentum: Annotated[float, Ge(0), Lt(1)] = 0.5
    """With `prototypes: means`: the share of the last round's prototypes that stays."""
    warm_up: Annotated[int, Ge(0)] = 5
    """Rounds before targets are matched."""
    ramp_rounds: Annotated[int, Ge(1)] = 40
    """Rounds in which matching comes to count in full."""
    client: ClassVar[str] = "prototypical"

    def phases(self) -> Sequence[str]:
        """Train; where prototypes are means, gather sums by class first."""
        return ("train",) if self.prototypes == "learnt" else ("prototypes", "train")

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Check that there is something to match.

        Raises:
            RunError: if a role has no client, or the model no ``head``.
        """
        check_roles(clients, "Dmpn")
        classifier_shape(weights, "Dmpn")
        if self.prototype_std is None:
            return ServerState(weights, len(clients))
        first = first_prototypes(weights["head.weight"], self.prototype_std)
        if self.prototypes == "learnt":
            return ServerState({**weights, "head.weight": first}, len(clients))
        return ServerState(weights, len(clients), {"prototypes": ClassMeans(first).to_weights()})

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send model and prototypes, and in training what the targets' means are."""
        strength = ramp((state.round - self.warm_up) / self.ramp_rounds)
        terms = PrototypeTerms(
            classes=len(state.weights["head.weight"]),
            threshold=self.threshold,
            means=self.mean_matching * strength,
            nearest=self.likelihood * strength,
            compactness=self.compactness,
            learnt=self.prototypes == "learnt",
            prototypes=state.memory.get("prototypes"),
            other=state.memory.get("other"),
        )
        return terms.to_broadcast(state.weights)

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add class sums as they are, and deltas role by role."""
        if sums := ClassSumsReply.from_update(update, self.client).class_sums:
            return {f"sums.{client.role}": Addend(sums, 1.0)}
        return by_role(update, client)

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Move the prototypes to the sources' means, or the model."""
        if state.phase == "train":
            return state.moved(added(merged, "delta"))
        like = state.weights["head.weight"]
        empty = ClassFeatureSums(torch.zeros_like(like).double(), torch.zeros(len(like)))
        source, target = (
            ClassFeatureSums.from_weights(merged.total(name)) if name in merged.means else empty
            for name in ("sums.source", "sums.target")
        )
        memory = dict(state.memory)
        # No prototypes yet: the sources' first means as they are.
        old, keep = source.sums * 0, 0.0
        if (before := memory.get("prototypes")) is not None:
            old, keep = ClassMeans.from_weights(before).means.double(), self.prototype_momentum
        means = updated(old, source, keep).to(like.dtype)
        target_means = updated(torch.zeros_like(old), target, 0.0).to(like.dtype)
        memory["prototypes"] = ClassMeans(means).to_weights()
        memory["other"] = OtherDomain(target_means, target.counts).to_weights()
        return replace(state, memory=memory)

    def evaluate(self, state: ServerState) -> Weights:
        """Judge the model with the head that chooses the nearest prototype."""
        if self.prototypes == "learnt":
            weight, bias = nearest_head(state.weights["head.weight"])
        elif "prototypes" in state.memory:
            weight, bias = nearest_head(ClassMeans.from_weights(state.memory["prototypes"]).means)
        else:
            return state.weights
        return {**state.weights, "head.weight": weight, "head.bias": bias}
