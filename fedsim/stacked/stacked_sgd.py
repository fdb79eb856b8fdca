"""Local SGD of several clients in the same steps, each as if it were alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from fedsim.client import StackedClient
from fedsim.errors import RunError
from fedsim.stacked.networks import Batch, Mlp, Net, net_of
from fedsim.wire import Instruction, Update, Weights

__all__ = ["StackedCorrection", "train_stacked"]

StackedCorrection = Callable[[Weights, int], None]
"""Changes, in place, the stacked gradients of as many clients, the first of their stack."""


class SgdRule(Protocol):
    """What a client does in one turn, as :class:`fedsim.clients.sgd.Sgd` says it."""

    @property
    def batch_size(self) -> int: ...
    @property
    def momentum(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    def rate(self, instruction: Instruction) -> float: ...
    def step_count(self, examples: int) -> int: ...
    def stacked_correction(
        self, instructions: Sequence[Instruction], weights: Weights
    ) -> StackedCorrection | None: ...
    def step(self, weights: Weights, gradients: Weights, velocity: Weights, lr: float) -> None: ...


def train_stacked(
    rule: SgdRule, model: nn.Module, members: Sequence[StackedClient]
) -> list[Update]:
    """Return the updates that ``rule.train`` would give each seat, up to rounding.

    Every client draws what it would draw alone, so it meets the same batches in the same order.
    A shorter batch is filled up with examples that do not count, and a client that is done leaves
    the stack: its weights are not touched any more.

    Args:
        rule: what each client does.
        model: holds the weights that were sent to all of them; it is not changed.
        members: the clients.

    Raises:
        RunError: if ``model`` cannot be stacked.
    """
    if isinstance(net := net_of(model), str):
        raise RunError(f"this model cannot be stacked: {net}")
    # Who takes most steps is first, so that those still at work are always the first few.
    order = sorted(range(len(members)), key=lambda at: -rule.step_count(len(members[at].examples)))
    stack = _SgdStack.of(rule, net, model, [members[at] for at in order])
    losses = stack.run()
    before = members[0].instruction.broadcast.weights
    moved = {name: stack.weights[name].sub_(value) for name, value in before.items()}
    updates: dict[int, Update] = {}
    for row, at in enumerate(order):
        size, metrics = len(members[at].examples), {}
        if size:
            metrics["loss"] = losses[row]
        delta = {name: value[row] for name, value in moved.items()}
        updates[at] = Update(members[at].instruction.client.id, delta, size, metrics)
    return [updates[at] for at in range(len(members))]


@dataclass(frozen=True)
class _SgdStack:
    """Clients side by side, those with most steps first."""

    rule: SgdRule
    net: Net
    members: Sequence[StackedClient]
    weights: Weights
    """`(clients, *shape)` by name."""
    places: Tensor
    """Which of all examples are met when, `(steps, clients, batch)`; -1 fills up."""

    @classmethod
    def of(
        cls, rule: SgdRule, net: Net, model: nn.Module, members: Sequence[StackedClient]
    ) -> _SgdStack:
        count = len(members)
        weights = {
            name: parameter.detach().expand(count, *parameter.shape).clone()
            for name, parameter in model.named_parameters()
        }
        return cls(rule, net, members, weights, _schedule(rule, members))

    def run(self) -> list[float]:
        """Take all steps; return each client's mean loss over its last pass."""
        rule, counts = self.rule, [self.rule.step_count(len(s.examples)) for s in self.members]
        inputs = torch.cat([member.examples.inputs for member in self.members])
        labels = torch.cat([member.examples.labels for member in self.members])
        steer = rule.stacked_correction(
            [member.instruction for member in self.members], self.weights
        )
        lr, velocity = rule.rate(self.members[0].instruction), Weights()
        # All of it lies where the examples do, and no step asks for a number that the CPU can see.
        every = self.places.to(inputs.device)
        sizes = (every >= 0).sum(dim=2)  # (steps, clients)
        batch_losses = torch.zeros(sizes.shape, device=inputs.device)
        plain = steer is None and not rule.momentum
        fused = self.net if plain and isinstance(self.net, Mlp) else None
        for step, places in enumerate(every):
            active = sum(count > step for count in counts)
            batch = _batch(inputs, labels, places[:active], sizes[step, :active])
            weights = {name: weight[:active] for name, weight in self.weights.items()}
            if fused is not None:
                losses = fused.descend(weights, batch, lr, rule.weight_decay)
            else:
                losses, gradients = self.net.gradients(weights, batch)
                if steer is not None:
                    steer(gradients, active)
                velocity = {name: momentum[:active] for name, momentum in velocity.items()}
                rule.step(weights, gradients, velocity, lr)
            batch_losses[step, :active] = losses
        batch_losses, sizes = batch_losses.cpu(), sizes.cpu()
        return [
            _last_pass(batch_losses[:count, at], sizes[:count, at], self._per_pass(at))
            for at, count in enumerate(counts)
        ]

    def _per_pass(self, at: int) -> int:
        return math.ceil(len(self.members[at].examples) / self.rule.batch_size)


def _schedule(rule: SgdRule, members: Sequence[StackedClient]) -> Tensor:
    """Draw every client's batches as it would alone, `(steps, clients, batch)`."""
    most = max(rule.step_count(len(member.examples)) for member in members)
    width = min(rule.batch_size, max(len(member.examples) for member in members))
    places = torch.full((most, len(members), width), -1)
    first = 0
    for at, member in enumerate(members):
        size = len(member.examples)
        if size == 0:
            continue
        torch.randint(2**31, (), generator=member.generator)  # alone, this is the layers' seed
        per_pass, count = math.ceil(size / rule.batch_size), rule.step_count(size)
        for start in range(0, count, per_pass):
            order = torch.full((per_pass * width,), -1)
            order[:size] = torch.randperm(size, generator=member.generator).add_(first)
            rows = order.view(per_pass, width)[: count - start]
            places[start : start + len(rows), at] = rows
        first += size
    return places


def _batch(inputs: Tensor, labels: Tensor, places: Tensor, sizes: Tensor) -> Batch:
    filled = places.clamp(min=0)
    share = (places >= 0) / sizes.unsqueeze(1)
    return inputs[filled], labels[filled], share


def _last_pass(losses: Tensor, sizes: Tensor, per_pass: int) -> float:
    if not len(losses):
        return 0.0
    last = slice(-per_pass, None)
    return float(np.average(losses[last].numpy(), weights=sizes[last].numpy()))
