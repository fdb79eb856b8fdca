"""Local SGD of several clients in the same steps, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import vmap

from fedsim.client import StackedClient
from fedsim.errors import RunError
from fedsim.optimizers.clipping import clip_stacked
from fedsim.optimizers.optimizer import Correction, Optimizer, StackableCorrection
from fedsim.optimizers.update_rules import SGD
from fedsim.stacked.networks import Mlp, Net, net_of
from fedsim.stacked.stacked_batches import BatchRule, ExamplePool, drawn_places
from fedsim.wire import Instruction, Update, Weights

__all__ = ["train_stacked"]

StackedCorrection = Callable[[Weights, int], None]
"""Changes, in place, the stacked gradients of as many clients, the first of their stack."""


class SgdRule(BatchRule, Protocol):
    """What a client does in one turn, as :class:`fedsim.clients.sgd.Sgd` says it."""

    @property
    def clip(self) -> float | None: ...
    def local_optimizer(self) -> Optimizer: ...
    def rates(self, instruction: Instruction, examples: int) -> list[float]: ...
    def correction(self, instruction: Instruction, weights: Weights) -> Correction | None: ...


def train_stacked(
    rule: SgdRule, model: nn.Module, members: Sequence[StackedClient]
) -> list[Update]:
    """Return the updates that ``rule.train`` would give each client, up to rounding.

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
    task = members[0].examples.task
    if isinstance(net := net_of(model, task), str):
        raise RunError(f"this model cannot be stacked: {net}")
    if not (optimizer := rule.local_optimizer()).stacks:
        raise RunError(f"{type(optimizer).__name__} steps one client at a time")
    # Who takes most steps is first, so that those still at work are always the first few.
    order = sorted(range(len(members)), key=lambda at: -rule.step_count(len(members[at].examples)))
    stack = _SgdStack.of(rule, net, model, [members[at] for at in order])
    losses = stack.run()
    before = members[0].instruction.broadcast.weights
    deltas = {name: stack.weights[name].sub_(value) for name, value in before.items()}
    updates: dict[int, Update] = {}
    for row, at in enumerate(order):
        size, metrics = len(members[at].examples), {}
        if size:
            metrics["loss"] = losses[row]
        delta = {name: value[row] for name, value in deltas.items()}
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
        return cls(rule, net, members, weights, drawn_places(rule, members))

    def run(self) -> list[float]:
        """Take all steps; return each client's mean loss over its last pass."""
        rule, counts = self.rule, [self.rule.step_count(len(s.examples)) for s in self.members]
        pool = ExamplePool.of(self.members)
        steer = self._correction()
        optimizer, rates = rule.local_optimizer(), self._rates()
        slots = optimizer.slots(self.weights)
        # All of it lies where the examples do, and no step asks for a number that the CPU can see.
        every = self.places.to(pool.inputs.device)
        sizes = (every >= 0).sum(dim=2)  # (steps, clients)
        batch_losses = torch.zeros(sizes.shape, device=pool.inputs.device)
        changed = steer is not None or rule.clip is not None
        decay = None if changed else _plain_decay(optimizer)
        fused = self.net if decay is not None and isinstance(self.net, Mlp) else None
        for step, places in enumerate(every):
            active = sum(count > step for count in counts)
            batch = pool.batch(places[:active], sizes[step, :active])
            weights = {name: weight[:active] for name, weight in self.weights.items()}
            if fused is not None:
                losses = fused.descend(weights, batch, rates[step], decay or 0.0)
            else:
                losses, gradients = self.net.gradients(weights, batch)
                if rule.clip is not None:
                    clip_stacked(gradients, rule.clip)
                if steer is not None:
                    steer(gradients, active)
                slots = {k: {n: x[:active] for n, x in part.items()} for k, part in slots.items()}
                optimizer.step(weights, gradients, slots, rates[step], step + 1)
            batch_losses[step, :active] = losses
        batch_losses, sizes = batch_losses.cpu(), sizes.cpu()
        return [
            _last_pass(batch_losses[:count, at], sizes[:count, at], self._per_pass(at))
            for at, count in enumerate(counts)
        ]

    def _correction(self) -> StackedCorrection | None:
        """Return what the clients' corrections are together, if there are any."""
        corrections = [
            self.rule.correction(
                member.instruction, {name: weight[at] for name, weight in self.weights.items()}
            )
            for at, member in enumerate(self.members)
        ]
        if not any(corrections):
            return None
        stackable = [c for c in corrections if isinstance(c, StackableCorrection)]
        if len(stackable) == len(corrections) and all(
            correction.change == stackable[0].change for correction in stackable
        ):
            return _vmapped(stackable, self.weights)
        return _one_by_one(corrections)

    def _rates(self) -> list[float]:
        """Return the size of each step, which is the same for all who take it.

        Raises:
            RunError: if it is not.
        """
        every = [self.rule.rates(s.instruction, len(s.examples)) for s in self.members]
        if any(rates != every[0][: len(rates)] for rates in every):
            raise RunError("the step sizes of clients with fewer steps are others")
        return every[0]

    def _per_pass(self, at: int) -> int:
        return self.rule.steps_per_pass(len(self.members[at].examples))


def _plain_decay(optimizer: Optimizer) -> float | None:
    """Return the weight decay of plain SGD; None for any other optimiser."""
    if not isinstance(optimizer, SGD) or type(optimizer) is not SGD or optimizer.momentum:
        return None
    return optimizer.weight_decay


def _vmapped(corrections: Sequence[StackableCorrection], weights: Weights) -> StackedCorrection:
    """Return corrections that differ in their constants alone as one operation."""
    first = corrections[0]
    constants, axes = Weights(), dict[str, int | None]()
    for name, constant in first.constants.items():
        values = [correction.constants[name] for correction in corrections]
        is_shared = all(value is constant for value in values)
        constants[name] = constant if is_shared else torch.stack(values)
        axes[name] = None if is_shared else 0
    change = vmap(first.change, in_dims=(0, 0, axes))

    def steer(gradients: Weights, count: int) -> None:
        moving = {name: weight[:count] for name, weight in weights.items()}
        active = {
            name: value if axes[name] is None else value[:count]
            for name, value in constants.items()
        }
        gradients.update(change(gradients, moving, active))

    return steer


def _one_by_one(corrections: Sequence[Correction | None]) -> StackedCorrection:
    """Return corrections of any kind, each on its client's part of the stack."""

    def steer(gradients: Weights, count: int) -> None:
        for at, correct in enumerate(corrections[:count]):
            if correct is not None:
                part = {name: gradient[at] for name, gradient in gradients.items()}
                before = dict(part)
                correct(part)
                for name, gradient in part.items():
                    if gradient is not before[name]:  # another tensor in the place of the view
                        before[name].copy_(gradient)

    return steer


def _last_pass(losses: Tensor, sizes: Tensor, per_pass: int) -> float:
    if not len(losses):
        return 0.0
    last = slice(-per_pass, None)
    return float(np.average(losses[last].numpy(), weights=sizes[last].numpy()))
