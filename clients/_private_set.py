"""What the private halves of FedDM have in common: counts, the reply, and who may call them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from fedsim.client import Client, Examples
from fedsim.clients._plain_sgd import PlainSgd
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.pixel_coding import Coding
from fedsim.condense.private_gradients import PrivateExamples, enough, noisy_counts
from fedsim.condense.synthetic_set import SyntheticSetTerms, sent_set
from fedsim.errors import RunError
from fedsim.models._split import check_split
from fedsim.per_sample.batches import MOST
from fedsim.per_sample.row_check import outputs_are_exact
from fedsim.privacy.accountant import Release
from fedsim.privacy.noise import NoiseSource, source_of
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule
from fedsim.task import Task
from fedsim.wire import Instruction, Update

__all__ = ["PrivateSet"]


@dataclass(frozen=True)
class PrivateSet(PlainSgd, PrivateRule):
    """A synthetic set of which no pixel, label or count is released without noise."""

    images_per_class: Annotated[int, Ge(1)] = 10
    """Synthetic images of each class that the client seems to have enough examples of."""
    image_lr: Annotated[float, Gt(0)] = 1.0
    """Step size of the images."""
    image_momentum: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Momentum of the images' steps."""
    radius: Annotated[float, Ge(0)] = 5.0
    """Distance of the models that are matched on from the server's, over all parameters."""
    min_examples: Annotated[int, Ge(1)] = 10
    """A class is left out unless its noisy count is above this by two standard deviations."""
    count_noise: Annotated[float, Gt(0)] = 20.0
    """Standard deviation of the noise on each class's count, released once in every round."""
    coding: Coding = "fp32"
    """How pixels travel: 4, 2 or 1 bytes each."""
    protects: ClassVar[tuple[str, ...]] = ("match",)
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    def match(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Refuse: without its terms this half would add no noise.

        Raises:
            RunError: always.
        """
        raise RunError(
            f"{type(self).__name__} needs the section privacy, with unit: record; "
            "without privacy take local: {use: matching}"
        )

    def under(self, terms: PrivacyParameters) -> _PrivateSetRule:
        """Return the half that matches under ``terms``."""
        return _PrivateSetRule(self, terms)

    def made(
        self,
        sphere: Sphere,
        examples: PrivateExamples,
        terms: PrivacyParameters,
        generator: torch.Generator,
        source: NoiseSource,
    ) -> Tensor:
        """Return images, `(classes, per class, *features)`, that are a function of releases.

        Args:
            sphere: the models to match on.
            examples: the client's examples; of one class at least.
            terms: clip and noise.
            generator: the public stream: of the models, and of what the images begin as.
            source: of samples and noise.
        """
        raise NotImplementedError

    def counted(self, turns: int) -> Release:
        """Return what the counts of ``turns`` turns release."""
        return Release(self.count_noise, times=turns)

    def public(self, model: nn.Module, examples: Examples, source: NoiseSource) -> PrivateExamples:
        """Return the examples of the classes that are large by their noisy counts.

        Raises:
            RunError: if the model cannot be matched on.
        """
        check_split(model, type(self).__name__)
        shape = examples.inputs.shape[1:]
        with torch.no_grad():
            classes = model(examples.inputs.new_zeros(1, *shape)).shape[1]
        counts = noisy_counts(examples.labels, classes, self.count_noise, source)
        return PrivateExamples.of(
            examples, counts, enough(counts, self.min_examples, self.count_noise)
        )

    def noise(self, examples: PrivateExamples, generator: torch.Generator) -> Tensor:
        """Return what images begin as: `(classes, per class, *features)`, never real ones."""
        shape = (len(examples.classes), self.images_per_class, *examples.inputs.shape[1:])
        return torch.randn(shape, generator=generator, device=examples.inputs.device)

    def reply(self, instruction: Instruction, images: Tensor, examples: PrivateExamples) -> Update:
        """Return the set as the extra ``synthetic``; no metrics, and no number of examples."""
        labels = examples.classes.repeat_interleave(self.images_per_class)
        stands_for = examples.counts.float() / self.images_per_class
        stands_for = stands_for.repeat_interleave(self.images_per_class)
        terms = SyntheticSetTerms.from_broadcast(instruction.broadcast)
        sent = sent_set(images.flatten(0, 1), labels, self.coding, stands_for, terms)
        count = min(1, instruction.client.examples)
        return Update(instruction.client.id, {}, count, extras=sent.to_extras())


@dataclass(frozen=True)
class _PrivateSetRule(Client):
    """A half under its terms."""

    rule: PrivateSet
    terms: PrivacyParameters
    tasks: ClassVar[tuple[str, ...]] = PrivateSet.tasks

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Train as the references do: without privacy."""
        return self.rule.train(model, examples, instruction, generator)

    def rows_are_exact(self, model: nn.Module, shape: Sequence[int], task: Task) -> bool:
        """Return whether here no example moves a bit of another's share: the bound needs it."""
        return outputs_are_exact(model, shape, task, MOST)

    def match(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the client's synthetic set, made from what was released of its examples."""
        rule, source = self.rule, source_of(self.terms.rng, generator)
        examples_kept = rule.public(model, examples, source)
        images = examples.inputs.new_empty(0, rule.images_per_class, *examples.inputs.shape[1:])
        if len(examples_kept.classes):
            sphere = Sphere(model.eval(), rule.radius)
            images = rule.made(sphere, examples_kept, self.terms, generator, source)
        return rule.reply(instruction, images, examples_kept)
