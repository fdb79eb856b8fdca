"""What adversarial adaptation asks of clients, with noise for every example of every release.

References:
    Abadi, Chu, Goodfellow, McMahan, Mironov, Talwar, Zhang, "Deep Learning with Differential
    Privacy", CCS 2016, arXiv:1607.00133, for the steps; that the losses of domains are sums over
    examples, so that each example's share can be cut, and what the statistics get, are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from fedsim.adapt.adversarial_loss import AdversarialLoss, DomainLossModule
from fedsim.adapt.adversarial_messages import Discriminator, DiscriminatorReply, FeatureRows
from fedsim.adapt.adversary import cut
from fedsim.adapt.gls_messages import GlsReply, GlsSums
from fedsim.adapt.heeded import Heeded
from fedsim.adapt.sensitivity import CONFUSION, PREDICTION
from fedsim.client import Client, Examples
from fedsim.errors import RunError
from fedsim.optimizers.update_rules import SGD
from fedsim.per_sample.batches import MOST, in_slots, labelled_with_zeros, padded_sample, sampled
from fedsim.per_sample.clipped_sums import Gradients, clipped_sum, gradient_of_each
from fedsim.per_sample.row_check import outputs_are_exact
from fedsim.privacy.accountant import Release
from fedsim.privacy.mechanism import SHRINK
from fedsim.privacy.noise import (
    NoiseSource,
    gaussian,
    grid,
    noisy,
    secret_generator,
    snap,
    source_of,
)
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule
from fedsim.seeds import seeded_layers
from fedsim.task import Task
from fedsim.wire import Instruction, Update, Weights

__all__ = ["PrivateAdversarial"]


@dataclass(frozen=True)
class PrivateAdversarial(PrivateRule):
    """DP-SGD against a discriminator; ``privacy`` says the clip and the noise of one release.

    A release is one step of the model, one gradient of the discriminator, one sum for the class
    ratios, or one batch of features.  Neighbours differ by one example of one client.
    """

    lr: Annotated[float, Gt(0)] = 0.1
    """The step size."""
    steps: Annotated[int, Ge(1)] = 20
    """Steps in one round, the same for every client: each is one release."""
    sample_rate: Annotated[float, Gt(0), Le(1)] = 0.1
    """Every example's chance to be in a batch, the same for every client."""
    batch_size: Annotated[int, Ge(1)] = 32
    """What noisy sums are divided by, and rows of `form: features`: a public number."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Momentum of the noisy steps; it starts from rest in every round."""
    protects: ClassVar[tuple[str, ...]] = ("gls", "adversary", "embed", "train")
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def under(self, terms: PrivacyParameters) -> _PrivateAdversarialRule:
        """Return the rule that takes part under ``terms``."""
        return _PrivateAdversarialRule(self, terms)

    def serving(self, phases: Sequence[str]) -> _ChargedByPhases:
        """Return the half that knows how often a round asks it: what a turn costs."""
        return _ChargedByPhases(self, tuple(phases))

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Refuse: what a turn releases is the strategy's to say.

        Raises:
            RunError: always; see :meth:`serving`.
        """
        raise RunError("private_adversarial: what a turn costs is known with the strategy alone")


@dataclass(frozen=True)
class _ChargedByPhases(PrivateRule):
    """The half in the rounds of one strategy."""

    rule: PrivateAdversarial
    phases: tuple[str, ...]
    protects: ClassVar[tuple[str, ...]] = PrivateAdversarial.protects

    def under(self, terms: PrivacyParameters) -> _PrivateAdversarialRule:
        """Return the rule that takes part under ``terms``."""
        return self.rule.under(terms)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release, the steps of the model first."""
        times = {phase: turns * self.phases.count(phase) for phase in self.rule.protects}
        rate, steps = self.rule.sample_rate, self.rule.steps
        releases = (
            Release(noise_multiplier, rate, steps * times["train"]),
            Release(noise_multiplier, rate, times["adversary"]),
            Release(noise_multiplier, 1.0, times["gls"] + times["embed"]),
        )
        return tuple(release for release in releases if release.times)


@dataclass(frozen=True)
class _PrivateAdversarialRule(Client):
    """The half under its terms; it sends one example's count, whatever it holds, and no metric."""

    rule: PrivateAdversarial
    terms: PrivacyParameters
    tasks: ClassVar[tuple[str, ...]] = PrivateAdversarial.tasks

    def gls(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return a source's confusion sum, or a target's sum of predictions, with noise."""
        at_source = instruction.client.role == "source"
        classes = len(instruction.broadcast.weights["head.weight"])
        std = (CONFUSION if at_source else PREDICTION) * self.terms.noise_multiplier
        shape = (classes, classes) if at_source else (classes,)
        total = torch.zeros(shape, dtype=torch.float64)
        for part, count in in_slots(examples, MOST):
            with torch.no_grad():
                share = model.eval()(part.inputs)[:count].double().softmax(dim=1)
            if at_source:
                true = F.one_hot(part.labels[:count], classes).to(share)
                share = torch.einsum("np,nt->npt", share, true)
            total += snap(share * SHRINK, grid(std)).sum(dim=0).cpu()
        released = total + gaussian(total, std, source_of(self.terms.rng, generator))
        sent = GlsSums(confusion=released) if at_source else GlsSums(prediction=released)
        return self._reply(instruction, {}, GlsReply(gls=sent.to_weights()))

    def adversary(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the discriminator's noisy gradient on one Poisson sample of this domain."""
        contest = self._contest(model, instruction)
        psi = {name: leaf.detach() for name, leaf in contest.learnable().items()}

        def loss(weights: Weights, example: Tensor, label: Tensor) -> Tensor:
            features, logits = contest.seen(example[None], frozen=True)
            source_label = label[None] if instruction.client.role == "source" else None
            return contest.domain_loss(weights, features, logits, source_label)

        source = source_of(self.terms.rng, generator)
        labelled = labelled_with_zeros(examples)
        with seeded_layers(secret_generator(source), examples.inputs.device):
            gradient = self._noisy(gradient_of_each(loss), psi, labelled, source)
        sent = {name: slope.to(psi[name].dtype) for name, slope in gradient.items()}
        return self._reply(instruction, {}, DiscriminatorReply(adversary=sent))

    def embed(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return noisy features of as many random examples as a batch has, or noise for them.

        One example more or less changes one row, by at most twice the clip.
        """
        contest = self._contest(model.eval(), instruction)
        source = source_of(self.terms.rng, generator)
        inputs, is_real = padded_sample(examples.inputs, self.rule.batch_size, source)
        with torch.no_grad():
            rows = cut(contest.judged(*contest.seen(inputs)), self.terms.clip * SHRINK)
        padded = torch.where(is_real.to(rows.device)[:, None], rows, 0.0)
        std = 2 * self.terms.clip * self.terms.noise_multiplier
        sent = FeatureRows(noisy(padded, std, source).to(rows.dtype))
        return self._reply(instruction, {}, DiscriminatorReply(rows=sent.to_weights()))

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return how far noisy steps moved the weights against the discriminator as it was sent."""
        at_source, broadcast = instruction.client.role == "source", instruction.broadcast
        psi = Discriminator.weights_in(broadcast)
        contest = self._contest(model, instruction) if psi else None
        labelled = labelled_with_zeros(examples) if psi else examples
        turn = DomainLossModule(model, contest, psi, at_source)

        def loss(weights: Weights, example: Tensor, label: Tensor) -> Any:
            swapped = {f"model.{name}": weight for name, weight in weights.items()}
            return functional_call(turn, swapped, (example[None], label[None]))

        source, slopes = source_of(self.terms.rng, generator), gradient_of_each(loss)
        weights = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
        optimizer = SGD(self.rule.lr, self.rule.momentum)
        velocity = {name: torch.zeros_like(weight) for name, weight in weights.items()}
        with seeded_layers(secret_generator(source), examples.inputs.device):
            for _ in range(self.rule.steps):
                for name, slope in self._noisy(slopes, weights, labelled, source).items():
                    moved, velocity[name] = optimizer.moved(weights[name], slope, velocity[name])
                    weights[name].copy_(moved)
        after = model.state_dict()
        delta = {name: after[name].to(old.device) - old for name, old in broadcast.weights.items()}
        return self._reply(instruction, delta, Heeded())

    def _noisy(
        self, slopes: Gradients, weights: Weights, examples: Examples, source: NoiseSource
    ) -> Weights:
        """Return the noisy mean over a Poisson sample of its examples' clipped gradients."""
        std = self.terms.clip * self.terms.noise_multiplier
        chosen = sampled(len(examples), self.rule.sample_rate, source)
        batch = Examples(examples.inputs[chosen], examples.labels[chosen])
        sums = clipped_sum(slopes, weights, batch, self.terms.clip, grid(std))
        return {
            name: (sums[name] + gaussian(sums[name], std, source)) / self.rule.batch_size
            for name in sorted(sums)
        }

    def _contest(self, model: nn.Module, instruction: Instruction) -> AdversarialLoss:
        terms = Discriminator.from_broadcast(instruction.broadcast)
        if terms.entropy:
            raise RunError(
                "entropy: true divides by a sum over the batch: how far one example moves that is "
                "not bounded, so it cannot be had under privacy"
            )
        clip = self.terms.clip * SHRINK if terms.blurred else None
        return AdversarialLoss(model, instruction, clip)

    def rows_are_exact(self, model: nn.Module, shape: Sequence[int], task: Task) -> bool:
        """Return whether here no example moves a bit of another's share: the bound needs it."""
        return outputs_are_exact(model, shape, task, MOST)

    def _reply(self, instruction: Instruction, delta: Weights, reply: Heeded) -> Update:
        client, extras = instruction.client, reply.to_extras()
        return Update(client.id, delta, min(1, client.examples), extras=extras)
