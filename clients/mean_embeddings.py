"""Synthetic sets made from noisy mean embeddings, which are released once per round: experimental.

References:
    Ours; the idea of matching released means goes back to Harder, Adamczewski, Park, "DP-MERF:
    Differentially Private Mean Embeddings with Random Features", AISTATS 2021, arXiv:2002.11603.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge
from torch import nn

from fedsim.client import Examples
from fedsim.clients._generator import on_device
from fedsim.clients._mean_embeddings import Steps, matched, released_means
from fedsim.clients._private_set import PrivateSet
from fedsim.clients._sphere import Sphere
from fedsim.privacy.accountant import Release
from fedsim.privacy.noise import source_of
from fedsim.privacy.terms import Terms
from fedsim.wire import Task, Update

__all__ = ["MeanEmbeddings"]


@dataclass(frozen=True)
class MeanEmbeddings(PrivateSet):
    """Matching of class means that were released, with noise, on a few models: experimental.

    The clip of ``privacy`` is on the norm of an example's features and logits together.
    """

    models: Annotated[int, Ge(1)] = 2
    """Models on which means are released in one round, over all examples: each is one release."""
    steps: Annotated[int, Ge(1)] = 100
    """Steps of matching in one round: they cost no privacy."""

    def under(self, terms: Terms) -> _Embedded:
        """Return the rule that matches under ``terms``."""
        return _Embedded(self, terms)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release: means of every model, and counts."""
        return (Release(noise_multiplier, times=self.models * turns), self.counted(turns))


@dataclass(frozen=True)
class _Embedded:
    """The rule under its terms."""

    rule: MeanEmbeddings
    terms: Terms

    def train(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Train as the references do: without privacy."""
        return self.rule.train(model, examples, task, draws)

    def match(
        self, model: nn.Module, examples: Examples, task: Task, draws: torch.Generator
    ) -> Update:
        """Return the client's synthetic set, made from what was released of its examples."""
        rule, clip = self.rule, self.terms.clip
        source = source_of(self.terms.rng, draws)
        held = rule.public(model, examples, source)
        seeds = torch.randint(2**62, (rule.models,), generator=draws).tolist()
        images = rule.noise(held, on_device(draws, examples.inputs.device))
        if len(held.classes):
            sphere, std = Sphere(model.eval(), rule.radius), clip * self.terms.noise_multiplier
            means = [released_means(sphere, held, (clip, std), seed, source) for seed in seeds]
            steps = Steps(rule.steps, rule.image_lr, rule.image_momentum)
            images = matched(images, sphere, means, clip, steps)
        return rule.reply(task, images, held)
