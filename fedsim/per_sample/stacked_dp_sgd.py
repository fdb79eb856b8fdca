"""DP-SGD of several clients in the same steps, each with the samples and the noise of its own.

An example's gradient must not depend on who else is there, in its own client's batch or another's.
So every pass has one public size: as many rows as follow from the clients in the stack and from
the batch size, each of as many slots.  A client's batch fills one row; what is too much for it goes
into further rows, of passes of the same size.  In which row of which pass an example stands
changes no bit of its gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from fedsim.client import StackedClient
from fedsim.errors import RunError
from fedsim.per_sample.batches import MOST, sampled
from fedsim.per_sample.stacked_sums import SummedTogether
from fedsim.privacy.noise import BLOCK, perturbed, source_of
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.stacked.networks import Batch
from fedsim.wire import Weights

__all__ = ["descend_together"]


class StepRule(Protocol):
    """What a client does in one turn, as :class:`fedsim.clients.dp_sgd.DpSgd` says it."""

    @property
    def lr(self) -> float: ...
    @property
    def steps(self) -> int: ...
    @property
    def sample_rate(self) -> float: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def momentum(self) -> float: ...


HELD = 128
"""Never more examples in a pass than these: what the layers made of them is held."""


def descend_together(
    rule: StepRule, terms: PrivacyParameters, model: nn.Module, members: Sequence[StackedClient]
) -> list[Weights]:
    """Return how far each client's noisy steps move its weights.

    Args:
        rule: what each client does.
        terms: of its privacy.
        model: holds the weights that were sent to all of them; it is not changed.
        members: the clients.

    Raises:
        RunError: if ``model`` cannot be stacked.
    """
    if isinstance(summed := SummedTogether.of(model, members[0].examples.task), str):
        raise RunError(f"this model cannot be stacked: {summed}")
    before = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
    deltas: list[Weights] = []
    passes = math.ceil(len(members) / max(1, HELD // _slots(rule)))
    # Stacks of nearly equal size: a short last one would cost a pass as the others do.
    for first, last in pairwise(len(members) * at // passes for at in range(passes + 1)):
        stack = _DpSgdStack(rule, terms, members[first:last], before.repeat(last - first, 1))
        for _ in range(rule.steps):
            stack.step(summed)
        by_name = summed.split(stack.weights.sub_(before))
        deltas += [{name: v[at] for name, v in by_name.items()} for at in range(last - first)]
    return deltas


def _slots(rule: StepRule) -> int:
    """Return how many examples a row has: two standard deviations more than a batch.

    That is more than one client alone is given, for one that has more costs all another pass.
    """
    return min(MOST, int(rule.batch_size + 2 * math.sqrt(rule.batch_size)))


class _DpSgdStack:
    """Clients that share a pass, with their weights one behind another."""

    def __init__(
        self,
        rule: StepRule,
        terms: PrivacyParameters,
        members: Sequence[StackedClient],
        weights: Tensor,
    ) -> None:
        self._rule, self._terms, self.weights = rule, terms, weights
        self._sources = [source_of(terms.rng, member.generator) for member in members]
        self._sizes = [len(member.examples) for member in members]
        # Behind all examples lies one of zeros, which fills up.
        inputs, labels = members[0].examples.inputs, members[0].examples.labels
        filler = inputs.new_zeros(1, *inputs.shape[1:]), labels.new_zeros(1, *labels.shape[1:])
        self._inputs = torch.cat([*(member.examples.inputs for member in members), filler[0]])
        self._labels = torch.cat([*(member.examples.labels for member in members), filler[1]])
        self._slots = _slots(rule)
        self._velocity: dict[int, Tensor] = {}

    def step(self, summed: SummedTogether) -> None:
        """Let every client take a step."""
        for client, total in enumerate(self.totals(summed, list(self._batches()))):
            self._move(client, total)

    def totals(self, summed: SummedTogether, batches: list[Tensor]) -> Iterator[Tensor]:
        """Yield the sum of each client's clipped gradients, `(numbers,)`.

        Args:
            summed: of the model.
            batches: where the examples of each client's batch stand among all.
        """
        clip, late = self._terms.clip, dict[int, Tensor]()
        # What is beyond a row's slots goes first, so that the pass that every client has comes
        # last and its sums can be yielded as they are made.
        overflow = [
            (client, part)
            for client, places in enumerate(batches)
            for part in torch.split(places[self._slots :], self._slots)
            if len(part)
        ]
        for first in range(0, len(overflow), len(batches)):
            clients, parts = zip(*overflow[first : first + len(batches)], strict=True)
            # A pass has as many rows whatever is in it, so that no example's bits depend on how
            # many clients drew more than a row holds.
            fill = [0] * (len(batches) - len(clients))
            totals = summed(self.weights[[*clients, *fill]], self._filled(parts), clip)
            for client, total in zip(clients, totals[: len(clients)], strict=True):
                late[client] = late[client] + total if client in late else total
        first_pass = self._filled([places[: self._slots] for places in batches])
        for client, total in enumerate(summed(self.weights, first_pass, clip)):
            yield total.add_(late[client]) if client in late else total

    def _batches(self) -> Iterator[Tensor]:
        """Yield where each client's Poisson sample stands among all examples."""
        first = 0
        for size, source in zip(self._sizes, self._sources, strict=True):
            yield first + sampled(size, self._rule.sample_rate, source)
            first += size

    def _filled(self, parts: Sequence[Tensor]) -> Batch:
        """Return rows of at most as many examples as there are slots as a pass of one size."""
        # -1 is the last of all: the example of zeros, which is in no share.
        places = torch.full((len(self._sizes), self._slots), -1)
        for at, part in enumerate(parts):
            places[at, : len(part)] = part
        places = places.to(self._inputs.device)
        return self._inputs[places], self._labels[places], places >= 0

    def _move(self, client: int, total: Tensor) -> None:
        """Take one client's step along the noisy mean of ``total``, while it is near."""
        rule, std = self._rule, self._terms.clip * self._terms.noise_multiplier
        if rule.momentum and client not in self._velocity:
            self._velocity[client] = torch.zeros_like(total)
        # Block by block, so that noise, velocity and weights of a block are still in the cache.
        for first in range(0, len(total), BLOCK):
            here = slice(first, first + BLOCK)
            noisy = perturbed(total[here], std, self._sources[client])
            if rule.momentum:
                noisy.add_(self._velocity[client][here], alpha=rule.momentum)
                self._velocity[client][here] = noisy
            self.weights[client, here].sub_(noisy.float(), alpha=rule.lr / rule.batch_size)
