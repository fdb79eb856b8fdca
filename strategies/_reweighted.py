"""What the strategies under label shift share: class ratios, estimated anew in every round."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt

from fedsim.adapt.gls import ClassLoss, class_weights, ratios, shared_law, shared_ratios, shrunk
from fedsim.adapt.gls_messages import GlsReply, SourceRatios, SourceWeights
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

__all__ = ["Reweighted"]

SUMS = "gls."


@dataclass(frozen=True)
class Reweighted(Strategy):
    """Source examples count by how much more common their class is in the target.

    To stand before the strategy that it reweights, as another base.
    """

    class_loss: ClassLoss = "ber_w"
    """`ber`: every class counts alike; `ber_w`: by its ratio, as in the authors' code; `iw`:
    examples count by their ratio."""
    average: Annotated[float, Ge(0), Lt(1)] = 0.5
    """How much of the ratios of the round before stays."""
    iw_start: Annotated[int, Ge(1)] = 6
    """The first round whose ratios are used, 1 in the paper: early predictions are poor."""
    shrink: Annotated[float, Gt(0), Le(1)] = 0.5
    """Uses ``1 + shrink (w - 1)``; 1 is the paper's."""
    max_ratio: Annotated[float, Gt(1)] = 20.0
    """No ratio is larger."""
    shared_q: bool = False
    """One target law for all sources, in place of one vector of ratios per source and target."""
    qp_transpose_bug: bool = False
    """Leave out the transpose, as the authors' code does: for replication only."""

    def phases(self) -> Sequence[str]:
        """Gather the sums first."""
        return ("gls", *super().phases())

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send a source its ratios too, and what its classes count in its own loss."""
        plain = super().broadcast(state, to)
        if state.phase == "gls":
            return replace(plain, extras={})
        counts = state.memory.get("counts", {}).get(to.domain)
        if to.role == "target" or counts is None:
            return plain
        weights = self._for_source(state, to.domain).to_weights()
        return replace(plain, extras={**plain.extras, **SourceRatios(weights).to_extras()})

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Add confusion and prediction sums, domain by domain."""
        if sums := GlsReply.from_update(update, self.client).gls:
            return {f"{SUMS}{client.role}/{client.domain}": Addend(sums, 1.0)}
        return super().addends(update, client)

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Solve for the ratios after the sums came; then as without them."""
        if state.phase != "gls":
            return super().step(state, merged, server)
        # Nothing here is negative but for noise.
        sums = {
            name: {key: value.clamp(min=0) for key, value in merged.total(name).items()}
            for name in merged.means
            if name.startswith(SUMS)
        }
        confusions, predictions = {}, {}
        for name, total in sums.items():
            role, _, domain = name.removeprefix(SUMS).partition("/")
            if role == "source":
                confusions[domain] = total["confusion"].numpy()
            else:
                predictions[domain] = total["prediction"].numpy()
        memory = dict(state.memory)
        counts = {domain: torch.from_numpy(c.sum(axis=0)) for domain, c in confusions.items()}
        target_sizes = {domain: torch.tensor(float(p.sum())) for domain, p in predictions.items()}
        memory["counts"] = {**memory.get("counts", {}), **counts}
        memory["seen"] = {**memory.get("seen", {}), **target_sizes}
        if state.round >= self.iw_start:
            solved = self._solved(confusions, predictions)
            memory["ratios"] = self._averaged(memory.get("ratios", {}), solved)
        return replace(state, memory=memory)

    def tables(self, state: ServerState) -> Mapping[str, Weights]:
        """Return the ratios by ``source>target``, to be held against the true ones."""
        return {"ratios": dict(state.memory["ratios"])} if "ratios" in state.memory else {}

    def _solved(
        self, confusions: Mapping[str, np.ndarray], predictions: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """Return the ratios of every pair, by ``source>target``."""
        usable = {domain: c for domain, c in confusions.items() if c.sum() > 0}
        by_pair = {}
        for target, prediction in predictions.items():
            if not usable or not prediction.sum() > 0:
                continue
            law = shared_law(list(usable.values()), prediction) if self.shared_q else None
            for source, confusion in usable.items():
                by_pair[f"{source}>{target}"] = (
                    ratios(confusion, prediction, self.max_ratio, not self.qp_transpose_bug)
                    if law is None
                    else shared_ratios(confusion, law, self.max_ratio)
                )
        return by_pair

    def _averaged(self, old: Weights, solved: Mapping[str, np.ndarray]) -> Weights:
        """Return the moving average; before the first ratios all are one."""
        new = {name: torch.from_numpy(value) for name, value in solved.items()}
        return {
            **old,
            **{
                name: self.average * old.get(name, torch.ones_like(value))
                + (1 - self.average) * value
                for name, value in new.items()
            },
        }

    def _for_source(self, state: ServerState, source: str) -> SourceWeights:
        """Return what a source's classes count.

        With several targets their ratios are averaged by how many examples they have.
        """
        counts = state.memory["counts"][source].numpy()
        law = counts / max(counts.sum(), 1)
        known_ratios, target_sizes = state.memory.get("ratios", {}), state.memory["seen"]
        mixed, total = np.zeros(len(law)), 0.0
        for target, size in target_sizes.items():
            if (pair := known_ratios.get(f"{source}>{target}")) is not None:
                mixed += float(size) * pair.numpy()
                total += float(size)
        weights = shrunk(mixed / total, self.shrink) if total else np.ones(len(law))
        of_class = class_weights(self.class_loss, weights, law)
        return SourceWeights(torch.from_numpy(weights), torch.from_numpy(of_class))
