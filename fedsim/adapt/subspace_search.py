"""The search for JDME's subspace; each cost and gradient takes an exchange with all clients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from fedsim.adapt.grassmann import Descent
from fedsim.adapt.joint_matching import LabelKernel
from fedsim.adapt.joint_matching_random import ClassSums, random_gap
from fedsim.adapt.subspace_messages import SearchAnswer, SearchQuestion
from fedsim.wire import Merged, Weights

__all__ = ["SubspaceSearch"]


@dataclass(frozen=True)
class SubspaceSearch:
    """How far a round's descent is, and what the last answers made of it."""

    descent: Descent
    pulls: Mapping[str, torch.Tensor]
    """By role: the discrepancy's derivative by its class sums, `(classes, 2 m)`."""
    queries: int = 0
    steps: int = 0

    def question(self, role: str, steps: int) -> Weights:
        """Return what clients of ``role`` are asked; nothing once ``steps`` steps are taken."""
        if self.descent.needs == "nothing" or self.steps == steps:
            return {}
        pull = self.pulls[role] if self.descent.needs == "slope" else None
        return SearchQuestion(self.descent.trial, pull).to_weights()

    def answered(self, merged: Merged, labels: LabelKernel) -> SubspaceSearch:
        """Return the search after a question; a role that gave no answer leaves it as it was."""
        after = replace(self, queries=self.queries + 1)
        names = [f"moments.{role}" for role in ("source", "target")]
        if not all(name in merged.means for name in names):
            return after
        source, target = (merged.total(name) for name in names)
        if self.descent.needs == "slope":
            answer = SearchAnswer.from_weights(source) + SearchAnswer.from_weights(target)
            return replace(after, descent=self.descent.slope(answer.slope))
        sums = ClassSums.from_weights(source), ClassSums.from_weights(target)
        value, *pulls = random_gap(*sums, labels)
        descent = self.descent.cost(value)
        if descent.needs != "slope":
            return replace(after, descent=descent)
        # The cost at the start is no step.
        steps = self.steps + (self.descent.here == self.descent.here)
        pulled = dict(zip(("source", "target"), pulls, strict=True))
        return replace(after, descent=descent, pulls=pulled, steps=steps)

    def tensors(self) -> Weights:
        """Return the search's tensors, for the server's memory."""
        now = self.descent
        pulls = {f"pull.{role}": pull for role, pull in self.pulls.items()}
        return {"trial": now.trial, "point": now.point, "gradient": now.gradient, **pulls}

    def numbers(self) -> dict[str, int | float | str]:
        """Return what else there is to remember of it, by names that begin with ``search.``."""
        now = self.descent
        return {
            "search.here": now.here,
            "search.before": now.before,
            "search.size": now.size,
            "search.shrunk": now.shrunk,
            "search.needs": now.needs,
            "search.queries": self.queries,
            "search.steps": self.steps,
        }

    @classmethod
    def unpacked(cls, tensors: Weights, numbers: Mapping[str, Any]) -> SubspaceSearch:
        """Return the search that gave these :meth:`tensors` and :meth:`numbers`."""
        descent = Descent(
            trial=tensors["trial"],
            point=tensors["point"],
            gradient=tensors["gradient"],
            **{name: numbers[f"search.{name}"] for name in ("here", "before", "size", "shrunk")},
            needs=numbers["search.needs"],
        )
        pulls = {
            role: tensors[f"pull.{role}"]
            for role in ("source", "target")
            if f"pull.{role}" in tensors
        }
        return cls(descent, pulls, numbers["search.queries"], numbers["search.steps"])
