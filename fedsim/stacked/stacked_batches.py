"""The batches of several clients, each client's as it would draw them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fedsim.client import StackedClient
from fedsim.stacked.losses import shares
from fedsim.stacked.networks import Batch
from fedsim.task import Task

__all__ = ["ExamplePool", "drawn_places"]


class BatchRule(Protocol):
    """How a client's batches are made, as :class:`fedsim.clients.sgd.Sgd` says it."""

    @property
    def examples_per_step(self) -> int: ...
    def examples_per_pass(self, examples: int) -> int: ...
    def steps_per_pass(self, examples: int) -> int: ...
    def step_count(self, examples: int) -> int: ...


@dataclass(frozen=True)
class ExamplePool:
    """All examples of the clients of a stack, one client's behind another's."""

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None
    task: Task

    @classmethod
    def of(cls, members: Sequence[StackedClient]) -> ExamplePool:
        """Return the examples of ``members``, in their order."""
        every = [member.examples for member in members]
        inputs = torch.cat([examples.inputs for examples in every])
        targets = torch.cat([examples.labels for examples in every])
        weights = [examples.weights for examples in every if examples.weights is not None]
        task = every[0].task
        return cls(inputs, targets, torch.cat(weights) if weights else None, task)

    def batch(self, places: Tensor, sizes: Tensor) -> Batch:
        """Return the examples at ``places``, `(clients, batch)`; -1 fills up.

        Args:
            places: which examples.
            sizes: how many of a client's are examples, `(clients,)`.
        """
        filled = places.clamp(min=0)
        counts = places >= 0
        if self.weights is not None:
            counts = counts * self.weights[filled]
            sizes = counts.sum(dim=1)
        return self.inputs[filled], self.targets[filled], shares(self.task, counts, sizes)


def drawn_places(rule: BatchRule, members: Sequence[StackedClient]) -> Tensor:
    """Draw every client's batches as it would alone, `(steps, clients, batch)`."""
    most = max(rule.step_count(len(member.examples)) for member in members)
    width = min(rule.examples_per_step, max(len(member.examples) for member in members))
    places = torch.full((most, len(members), width), -1)
    first = 0
    for at, member in enumerate(members):
        size = len(member.examples)
        if size == 0:
            continue
        torch.randint(2**31, (), generator=member.generator)  # alone, this is the layers' seed
        per_pass, count = rule.steps_per_pass(size), rule.step_count(size)
        met = rule.examples_per_pass(size)
        for start in range(0, count, per_pass):
            order = torch.full((per_pass * width,), -1)
            order[:met] = torch.randperm(size, generator=member.generator)[:met].add_(first)
            rows = order.view(per_pass, width)[: count - start]
            places[start : start + len(rows), at] = rows
        first += size
    return places
