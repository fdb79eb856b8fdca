"""JDME: a linear subspace in which source and target agree, class by class.

References:
    Jin et al., "Joint Distribution Matching Embedding for Unsupervised Domain Adaptation",
    Neurocomputing 2020, by its published code.  The form in class moments, exact for these
    kernels, is ours; the nearest federated relative is FedRF-TCA, arXiv:2311.04686.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt

from fedsim.adapt.jdme import (
    LabelKernel,
    Moments,
    discrepancy,
    principal,
    ridge_head,
    subspace,
)
from fedsim.clients._places import place_of, split
from fedsim.errors import RunError
from fedsim.strategies._domains import check_roles
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["Jdme"]


@dataclass(frozen=True)
class Jdme(Strategy):
    """One round is one outer iteration: targets guess labels, the server moves the subspace.

    It needs ``model: projected``.  Sources of several domains count as one mixture.  Under label
    shift between the domains it can do harm.
    """

    kernel: Literal["poly", "linear"] = "poly"
    """`poly` is ``(<z, z'> + 1)^2``."""
    label_kernel: LabelKernel = "official"
    """`joint` weighs classes as they are common, `balanced` alike, `official` is their sum."""
    steps: Annotated[int, Ge(1)] = 5
    """Of Riemannian descent in one round."""
    final_head: Literal["svm", "moment"] = "svm"
    """`svm`: fitted by the sources, averaged by examples (exact with one); `moment`: ridge
    regression on the server, from the moments that it has."""
    ridge: Annotated[float, Gt(0)] = 0.01
    """Of `moment`, as a share of the features' mean variance."""
    client: ClassVar[str] = "class_moments"
    deltas: ClassVar[tuple[str, ...]] = ()

    def phases(self) -> Sequence[str]:
        """Return: sources' moments, targets' moments, and sources' heads where they fit them."""
        return ("source", "label", "head") if self.final_head == "svm" else ("source", "label")

    def asks(self, phase: str, client: ClientInfo) -> bool:
        """Ask targets to guess labels, and sources for the rest."""
        return client.role == ("target" if phase == "label" else "source")

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Check that there is a subspace to find, and a target to find it for.

        Raises:
            RunError: if the model is another, or a role has no client.
        """
        check_roles(clients, "Jdme")
        if weights.keys() != {"basis", "head.weight", "head.bias"}:
            raise RunError("Jdme finds a linear subspace: set `model: {use: projected}`")
        return ServerState(weights, len(clients))

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send subspace and head; before there is one, targets get the head on raw inputs."""
        is_first = state.phase == "label" and "basis" not in state.memory
        return Broadcast(state.weights, {"raw": state.memory["raw"]} if is_first else {})

    def addends(self, update: Update) -> Mapping[str, Addend]:
        """Add moments as they are, and heads by examples."""
        name = place_of(update, sender=self.client)
        role, _ = split(name)
        parts = {}
        if moments := update.extras[name]:
            parts[f"moments.{role}"] = Addend(moments, 1.0)
        for head in ("raw", "fitted"):
            if head in update.extras:
                parts[head] = Addend(update.extras[head], update.examples)
        return parts

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Keep the sources' moments, move the subspace, or take over the head."""
        memory = dict(state.memory)
        if state.phase == "source":
            if "moments.source" in merged.means:
                memory["source"] = merged.total("moments.source")
                memory["raw"] = merged.means["raw"]
            return replace(state, memory=memory)
        if state.phase == "head":
            head = merged.means.get("fitted")
            return state if head is None else _headed(state, head["raw.weight"], head["raw.bias"])
        if "moments.target" not in merged.means or "source" not in memory:
            return state
        return self._moved(state, merged.total("moments.target"))

    def _moved(self, state: ServerState, target: Weights) -> ServerState:
        source, guessed = Moments.unpacked(state.memory["source"]), Moments.unpacked(target)
        dimensions = state.weights["basis"].shape[1]
        kept = state.memory.get("basis")
        start = principal(source + guessed, dimensions) if kept is None else kept["basis"]
        gap = discrepancy(source, guessed, self.label_kernel, self.kernel)
        basis = subspace(start, gap, self.steps)
        weights = {**state.weights, "basis": basis.to(state.weights["basis"].dtype)}
        after = replace(state, weights=weights, memory={**state.memory, "basis": {"basis": basis}})
        if self.final_head == "svm":
            return after
        return _headed(after, *ridge_head(source, basis, self.ridge))


def _headed(state: ServerState, weight: torch.Tensor, bias: torch.Tensor) -> ServerState:
    like = state.weights["head.weight"].dtype
    head = {"head.weight": weight.to(like), "head.bias": bias.to(like)}
    return replace(state, weights={**state.weights, **head})
