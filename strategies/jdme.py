"""JDME: a linear subspace in which source and target agree, class by class.

References:
    Jin et al., "Joint Distribution Matching Embedding for Unsupervised Domain Adaptation",
    Neurocomputing 2020, by its published code.  The form in class moments, exact for these
    kernels, is ours; the nearest federated relative is FedRF-TCA, arXiv:2311.04686.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt

from fedsim.adapt.features import mean_squared_distance
from fedsim.adapt.grassmann import Descent
from fedsim.adapt.joint_matching import (
    Kernel,
    LabelKernel,
    Moments,
    discrepancy,
    principal,
    ridge_head,
    subspace,
)
from fedsim.adapt.subspace_messages import JdmeReply, LinearHead, RawHead, SearchTerms
from fedsim.adapt.subspace_search import SubspaceSearch
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

    kernel: Literal["poly", "linear", "rbf"] = "poly"
    """`poly` is ``(<z, z'> + 1)^2``; `rbf` is Gaussian, by random features: every cost and slope
    is a question to all clients."""
    label_kernel: LabelKernel = "official"
    """`joint` weighs classes as they are common, `balanced` alike, `official` is their sum."""
    steps: Annotated[int, Ge(1)] = 5
    """Steps of Riemannian descent in one round."""
    final_head: Literal["svm", "moment"] = "svm"
    """`svm`: fitted by the sources, averaged by examples (exact with one); `moment`: ridge
    regression on the server, from the moments that it has."""
    ridge: Annotated[float, Gt(0)] = 0.01
    """With `final_head: moment`: the ridge, as a share of the features' mean variance."""
    features: Annotated[int, Ge(1)] = 500
    """With `kernel: rbf`: the number of random frequencies."""
    bandwidth: Annotated[float, Gt(0)] | None = None
    """With `kernel: rbf`: ``sigma`` in ``exp(-||z - z'||^2 / sigma)``; null is the mean squared
    distance of all examples, which sums give."""
    max_queries: Annotated[int, Ge(2)] = 20
    """With `kernel: rbf`: the most questions to all clients in one round; a step takes two or
    more."""
    client: ClassVar[str] = "class_moments"
    deltas: ClassVar[tuple[str, ...]] = ()

    def phases(self) -> Sequence[str]:
        """Return: sources' moments, targets' moments, and sources' heads where they fit them."""
        searches = ("search",) * self.max_queries if self.kernel == "rbf" else ()
        head = ("head",) if self.final_head == "svm" else ()
        return ("source", "label", *searches, *head)

    def participates(self, phase: str, client: ClientInfo) -> bool:
        """Ask targets to guess labels, sources for the rest, and all in the search of `rbf`."""
        return phase == "search" or client.role == ("target" if phase == "label" else "source")

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Check that there is a subspace to find, and a target to find it for.

        Raises:
            RunError: if the model is another, or a role has no client.
        """
        check_roles(clients, "Jdme")
        if weights.keys() != {"basis", "head.weight", "head.bias"}:
            raise RunError("Jdme finds a linear subspace: set `model: {use: projected}`")
        if self.kernel == "rbf" and self.final_head == "moment":
            raise RunError("Jdme has no class moments with `kernel: rbf`: set `final_head: svm`")
        return ServerState(weights, len(clients))

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send subspace and head; before there is one, targets get the head on raw inputs."""
        guesses = state.phase in ("label", "search") and to.role == "target"
        is_first = guesses and "basis" not in state.memory
        head = RawHead(state.memory["raw"] if is_first else None)
        if self.kernel != "rbf":
            return head.to_broadcast(state.weights)
        terms = SearchTerms(random=True)
        if state.phase == "search" and "search" in state.memory:
            terms = SearchTerms(
                random=True,
                features=self.features,
                bandwidth=state.number("bandwidth"),
                seed=int(state.number("seed")),
                trial=_search(state).question(to.role, self.steps),
            )
        extras = {**head.to_extras(), **terms.to_extras()}
        return Broadcast(state.weights, extras, terms.to_settings())

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add moments as they are, and heads by examples."""
        reply = JdmeReply.from_update(update, sender=self.client)
        parts = {}
        if reply.moments:
            parts[f"moments.{client.role}"] = Addend(reply.moments, 1.0)
        for name, head in (("raw", reply.raw), ("fitted", reply.fitted)):
            if head is not None:
                parts[name] = Addend(head, update.examples)
        return parts

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Keep the sources' moments, move the subspace, or take over the head."""
        memory = dict(state.memory)
        if state.phase == "source":
            if "moments.source" in merged.means:
                memory["source"] = merged.total("moments.source")
                memory["raw"] = merged.means.get("raw") or self._first_head(memory["source"])
            return replace(state, memory=memory)
        if state.phase == "head":
            head = merged.means.get("fitted")
            return state if head is None else _headed(state, LinearHead.from_weights(head))
        if state.phase == "search":
            return self._searched(state, merged)
        if "moments.target" in merged.means and "source" in memory:
            target = merged.total("moments.target")
            return (
                self._begun(state, target) if self.kernel == "rbf" else self._moved(state, target)
            )
        return self._begun(state, {}) if "start" in memory else state

    def _first_head(self, source: Weights) -> Weights:
        """Return a head on the inputs as they are, where the sources may fit none themselves."""
        moments = Moments.unpacked(source)
        everything = torch.eye(moments.sums.shape[1], dtype=moments.sums.dtype)
        return LinearHead(*ridge_head(moments, everything, self.ridge)).to_weights()

    def _moved(self, state: ServerState, target: Weights) -> ServerState:
        """Return the state with the subspace that the moments lead to."""
        source, guessed = Moments.unpacked(state.memory["source"]), Moments.unpacked(target)
        before = state.memory.get("basis")
        start = before["basis"] if before else principal(source + guessed, _dimensions(state))
        kernel: Kernel = "linear" if self.kernel == "linear" else "poly"
        basis = subspace(start, discrepancy(source, guessed, self.label_kernel, kernel), self.steps)
        after = _with_basis(state, basis)
        if self.final_head == "svm":
            return after
        return _headed(after, LinearHead(*ridge_head(source, basis, self.ridge)))

    def _begun(self, state: ServerState, target: Weights) -> ServerState:
        """Return the state before a search; in the first round from all examples' moments."""
        memory = dict(state.memory)
        if "start" not in memory:
            both = Moments.unpacked(memory["source"]) + Moments.unpacked(target)
            squares = float(both.squares.sum(dim=0).trace())
            width = mean_squared_distance(both.sums.sum(dim=0), squares, float(both.counts.sum()))
            basis = principal(both, _dimensions(state))
            memory["start"] = {"basis": basis}
            seed = zlib.crc32(state.weights["basis"].numpy().tobytes())
            state = state.noting(bandwidth=self.bandwidth or width, seed=seed)
        start = memory.get("basis", memory["start"])["basis"]
        return _searching(replace(state, memory=memory), SubspaceSearch(Descent.at(start), {}))

    def _searched(self, state: ServerState, merged: Merged) -> ServerState:
        """Return the state after an answer; after the last one with the subspace found."""
        if "search" not in state.memory:
            return state
        now = _search(state).answered(merged, self.label_kernel)
        if now.queries < self.max_queries:
            return _searching(state, now)
        after = _with_basis(state, now.descent.point)
        return replace(after, memory={k: v for k, v in after.memory.items() if k != "search"})


def _search(state: ServerState) -> SubspaceSearch:
    return SubspaceSearch.unpacked(state.memory["search"], state.plain)


def _searching(state: ServerState, search: SubspaceSearch) -> ServerState:
    memory = {**state.memory, "search": search.tensors()}
    return replace(state, memory=memory).noting(**search.numbers())


def _dimensions(state: ServerState) -> int:
    return state.weights["basis"].shape[1]


def _with_basis(state: ServerState, basis: torch.Tensor) -> ServerState:
    weights = {**state.weights, "basis": basis.to(state.weights["basis"].dtype)}
    return replace(state, weights=weights, memory={**state.memory, "basis": {"basis": basis}})


def _headed(state: ServerState, head: LinearHead) -> ServerState:
    like = state.weights["head.weight"].dtype
    weights = {"head.weight": head.weight.to(like), "head.bias": head.bias.to(like)}
    return replace(state, weights={**state.weights, **weights})
