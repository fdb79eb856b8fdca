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
from torch import Tensor

from fedsim.clients._private_set import PrivateSet
from fedsim.condense.embedding_means import Steps, matched, released_means
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.private_gradients import PrivateExamples
from fedsim.optimizers.update_rules import SGD
from fedsim.privacy.accountant import Release
from fedsim.privacy.noise import NoiseSource
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import generator_on

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

    def made(
        self,
        sphere: Sphere,
        examples: PrivateExamples,
        terms: PrivacyParameters,
        generator: torch.Generator,
        source: NoiseSource,
    ) -> Tensor:
        """Return images that were matched, for nothing, to the means of ``models`` releases."""
        seeds = torch.randint(2**62, (self.models,), generator=generator).tolist()
        images = self.noise(examples, generator_on(generator, sphere.device))
        std = terms.clip * terms.noise_multiplier
        means = [
            released_means(sphere, examples, (terms.clip, std), seed, source) for seed in seeds
        ]
        steps = Steps(self.steps, SGD(self.image_lr, self.image_momentum))
        return matched(images, sphere, means, terms.clip, steps)

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release: means of every model, and counts."""
        return (Release(noise_multiplier, times=self.models * turns), self.counted(turns))
