"""SGD that no single example can steer: clipped per-example gradients, Poisson batches, noise.

References:
    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
    Privacy", CCS 2016, arXiv:1607.00133, Algorithm 1, with a public denominator.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import nn

from fedsim.client import Client, Examples, StackedClient
from fedsim.errors import RunError
from fedsim.optimizers.optimizer import Optimizer
from fedsim.optimizers.schedule import RateSchedule
from fedsim.optimizers.stepping import Stepping
from fedsim.optimizers.update_rules import SGD
from fedsim.per_sample.batches import sampled, slots_for
from fedsim.per_sample.clipped_sums import clipped_sum, per_example, written_sum
from fedsim.per_sample.gradients import WrittenOut
from fedsim.per_sample.row_check import gradients_are_exact
from fedsim.per_sample.stacked_dp_sgd import descend_together
from fedsim.privacy.accountant import Release
from fedsim.privacy.noise import NoiseSource, grid, perturbed, secret_generator, source_of
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule
from fedsim.schema.part import PartOf
from fedsim.seeds import seeded_layers
from fedsim.task import Task
from fedsim.wire import Instruction, Update, Weights

__all__ = ["DpSgd"]


@dataclass(frozen=True)
class DpSgd(PrivateRule):
    """DP-SGD; ``privacy`` says the clip and the noise, and its ``unit`` has to be ``record``.

    Neighbours differ by one example of one client.  Nothing that is sent or divided by depends
    on how many examples a client holds, except that one without any is known to have none.
    """

    lr: Annotated[float, Gt(0)] = 0.5
    """The step size."""
    steps: Annotated[int, Ge(1)] = 20
    """Steps in one round, the same for every client: each is one release."""
    sample_rate: Annotated[float, Gt(0), Le(1)] = 0.1
    """Every example's chance to be in a step's batch, the same for every client."""
    batch_size: Annotated[int, Ge(1)] = 16
    """What the noisy sums are divided by: a public number, whatever came into the batch."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Momentum of the noisy steps; it starts from rest in every round."""
    optimizer: Annotated[Optimizer, PartOf("optimizer")] | None = None
    """What takes the noisy steps, with its own step size; by default SGD with the keys here."""
    schedule: Annotated[RateSchedule, PartOf("schedule")] | None = None
    """What the step size is multiplied by, over rounds or the steps of a round."""
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = (
        ("accumulate", "every batch is a release of its own, with its own sample and noise"),
        ("augment", "its bound is of examples as they are; what changes them could mix them"),
        ("clip", "privacy.clip cuts the gradient of each example already"),
        ("stop", "validation examples would be looked at without noise"),
        ("drop_last", "batches are random samples, and none is the last of a pass"),
    )
    protects: ClassVar[tuple[str, ...]] = ("train",)
    heeds_weights: ClassVar[bool] = False

    @property
    def is_plain(self) -> bool:
        """Whether the steps are those of SGD, all of one size."""
        return self.optimizer is None and self.schedule is None

    def stepping(self, round: int) -> Stepping:
        """Return the optimiser at the start of a turn; what it sees of the examples is noisy.

        So whatever it makes of the gradients is post-processing, and releases nothing more.
        """
        optimizer = self.optimizer or SGD(self.lr, self.momentum)
        factors = [1.0] * self.steps
        if self.schedule is not None:
            factors = self.schedule.factors(round, self.steps)
        return Stepping(optimizer, [optimizer.lr * factor for factor in factors])

    def under(self, terms: PrivacyParameters) -> _PrivateDpSgd:
        """Return the rule that trains under ``terms``."""
        return _PrivateDpSgd(self, terms)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release: ``steps`` subsampled Gaussians each."""
        return (Release(noise_multiplier, self.sample_rate, self.steps * turns),)


@dataclass(frozen=True)
class _PrivateDpSgd(Client):
    """DP-SGD under its terms."""

    rule: DpSgd
    terms: PrivacyParameters
    heeds_weights: ClassVar[bool] = False

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return how far the noisy steps moved the weights; noise alone without examples.

        Besides the weights it sends nothing: no metrics, and one example whatever it holds.  It
        keeps how many turns it has taken, which its own books are held against.
        """
        before, device = instruction.broadcast.weights, next(model.parameters()).device
        source = source_of(self.terms.rng, generator)
        # Whoever knew the masks of dropout would know more of an example than the noise hides.
        secret = secret_generator(source) if self.terms.rng == "secure" else generator
        with seeded_layers(secret, device):
            self._descend(model, examples, source, self.rule.stepping(instruction.round))
        after = model.state_dict()
        delta = {name: after[name].to(value.device) - value for name, value in before.items()}
        return _sent(instruction, delta)

    def train_together(self, model: nn.Module, members: Sequence[StackedClient]) -> list[Update]:
        """Return what :meth:`train` would give each seat, up to rounding, in the same steps.

        Raises:
            RunError: if ``model`` cannot be stacked, or the steps are not plain ones.
        """
        if not self.rule.is_plain:
            raise RunError("DP-SGD with an optimizer or a schedule trains one client at a time")
        moved = descend_together(self.rule, self.terms, model, members)
        return [
            _sent(member.instruction, delta) for member, delta in zip(members, moved, strict=True)
        ]

    def rows_are_exact(self, model: nn.Module, shape: Sequence[int], task: Task) -> bool:
        """Return whether here no example moves a bit of another's gradient: the bound needs it."""
        size = slots_for(self.rule.batch_size)
        return gradients_are_exact(model, shape, task, size)

    def _descend(
        self, model: nn.Module, examples: Examples, source: NoiseSource, stepping: Stepping
    ) -> None:
        """Take the steps, on the model's own parameters."""
        rule, terms = self.rule, self.terms
        std = terms.clip * terms.noise_multiplier
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        written = WrittenOut.of(model, examples.task)
        slopes = per_example(model, examples.task)
        sizes, slots = [weight.numel() for weight in weights.values()], slots_for(rule.batch_size)
        stepping.start(weights)
        velocity = torch.zeros((), dtype=torch.float64)
        for _ in range(rule.steps):
            chosen = sampled(len(examples), rule.sample_rate, source)
            batch = Examples(examples.inputs[chosen], examples.labels[chosen])
            if written is not None:
                sums = written_sum(written, weights, batch, terms.clip, slots)
            else:
                sums = clipped_sum(slopes, weights, batch, terms.clip, grid(std))
            flat = torch.cat([total.flatten() for total in sums.values()])
            noisy = perturbed(flat, std, source).div_(rule.batch_size)
            if not rule.is_plain:
                parts = zip(weights.items(), torch.split(noisy.float(), sizes), strict=True)
                stepping.step(weights, {name: part.view_as(w) for (name, w), part in parts})
                continue
            velocity = noisy.add_(velocity, alpha=rule.momentum) if rule.momentum else noisy
            moves = torch.split((rule.lr * velocity).float(), sizes)
            for weight, move in zip(weights.values(), moves, strict=True):
                weight.sub_(move.view_as(weight))


def _sent(instruction: Instruction, delta: Weights) -> Update:
    """Return all that a client sends and keeps of a turn."""
    taken = instruction.memory.get("privacy", {}).get("turns", torch.zeros(1)).cpu() + 1
    count = min(1, instruction.client.examples)
    return Update(instruction.client.id, delta, count, memory={"privacy": {"turns": taken}})
