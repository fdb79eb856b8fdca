"""JDME's class moments with noise for every example.

References:
    Dwork, Talwar, Thakurta, Zhang, "Analyze Gauss", STOC 2014: noise on second moments.  Classes,
    the bound over all three moments together, and the projection afterwards are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge
from torch import Tensor, nn

from fedsim.adapt.joint_matching import Moments
from fedsim.adapt.pseudo_labels import pseudo_labels, rows_of
from fedsim.adapt.sensitivity import UNIT_MOMENTS
from fedsim.adapt.subspace_messages import JdmeReply
from fedsim.client import Client, Examples, Unlabelled
from fedsim.per_sample.batches import MOST, in_slots
from fedsim.per_sample.row_check import outputs_are_exact
from fedsim.privacy.accountant import Release
from fedsim.privacy.mechanism import SHRINK
from fedsim.privacy.noise import gaussian, grid, snap, source_of
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule
from fedsim.task import Task
from fedsim.wire import Instruction, Update, Weights

__all__ = ["PrivateMoments"]


@dataclass(frozen=True)
class PrivateMoments(PrivateRule):
    """Sources release their classes' moments once, targets those of guessed classes each round.

    It needs ``final_head: moment``, for a fitted head is no sum.  Rows have length one, whatever
    ``privacy.clip`` says; neighbours differ by one example of one client.
    """

    max_width: Annotated[int, Ge(1)] = 256
    """More values than this in one example are refused: noise grows with their square."""
    protects: ClassVar[tuple[str, ...]] = ("source", "label")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def under(self, terms: PrivacyParameters) -> _PrivateMomentsRule:
        """Return the rule that takes part under ``terms``."""
        return _PrivateMomentsRule(self.max_width, terms)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return a release for each turn; a source has spent less, and is charged as much."""
        return (Release(noise_multiplier, 1.0, turns),)


@dataclass(frozen=True)
class _PrivateMomentsRule(Client):
    """The half under its terms; it sends one example's count, whatever it holds."""

    max_width: int
    terms: PrivacyParameters
    tasks: ClassVar[tuple[str, ...]] = PrivateMoments.tasks

    def source(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return, in the first round, noisy moments of the classes."""
        extras: Weights = {}
        if instruction.round == 1:
            extras = self._noisy(examples, model, instruction, generator)
        return self._reply(instruction, extras)

    def label(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Guess this target's labels, and return noisy moments of the guessed classes."""
        return self._reply(instruction, self._noisy(examples, model, instruction, generator))

    def rows_are_exact(self, model: nn.Module, shape: Sequence[int], task: Task) -> bool:
        """Return whether here no example moves a bit of another's share: the bound needs it."""
        return outputs_are_exact(model, shape, task, MOST)

    def _noisy(
        self,
        examples: Examples,
        model: nn.Module,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Weights:
        classes = int(model.head.out_features)  # type: ignore[union-attr,arg-type]
        std = UNIT_MOMENTS * self.terms.noise_multiplier
        like = _shares(rows_of(Unlabelled(examples.inputs[:0]), self.max_width).cpu())
        sums = {name: part.new_zeros(classes, *part.shape[1:]) for name, part in like.items()}
        for part, count in in_slots(examples, MOST):
            rows = torch.nan_to_num(rows_of(part, self.max_width), 0.0, 0.0, 0.0)
            is_known = isinstance(examples, Examples)
            labels = (
                part.labels if is_known else pseudo_labels(model, part.inputs, rows, instruction)
            )
            for name, shares in _shares(rows[:count].cpu() * SHRINK).items():
                sums[name].index_add_(0, labels[:count].cpu(), snap(shares, grid(std)))
        source = source_of(self.terms.rng, generator)
        noisy = {name: part + gaussian(part, std, source) for name, part in sums.items()}
        return _possible(Moments.unpacked(noisy)).packed()

    def _reply(self, instruction: Instruction, reply: Weights) -> Update:
        count = min(1, instruction.client.examples)
        extras = JdmeReply(moments=reply).to_extras()
        return Update(instruction.client.id, {}, count, extras=extras)


def _shares(rows: Tensor) -> Weights:
    """Return what each row adds to the moments, `(n, ...)`; all three together have a bound."""
    row, column = torch.triu_indices(rows.shape[1], rows.shape[1])
    return {
        "counts": rows.new_full((len(rows),), SHRINK),
        "sums": rows,
        "squares": rows[:, row] * rows[:, column],
    }


def _possible(noisy: Moments) -> Moments:
    """Return the nearest moments that examples can have: no negative count, no negative variance.

    Count, sum and squares of a class are one matrix, which is positive semidefinite for any rows.
    """
    classes, width = noisy.sums.shape
    matrix = noisy.sums.new_zeros(classes, width + 1, width + 1)
    matrix[:, 0, 0] = noisy.counts
    matrix[:, 0, 1:] = matrix[:, 1:, 0] = noisy.sums
    matrix[:, 1:, 1:] = noisy.squares
    values, vectors = torch.linalg.eigh(matrix)
    projected = vectors * values.clamp(min=0)[:, None, :] @ vectors.mT
    return Moments(projected[:, 0, 0], projected[:, 0, 1:], projected[:, 1:, 1:])
