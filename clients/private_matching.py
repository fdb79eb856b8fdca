"""Synthetic sets that hide every single example: FedDM's client under differential privacy.

References:
    Xiong, Wang, Cheng, Yu, Hsieh, "FedDM: Iterative Distribution Matching for
    Communication-Efficient Federated Learning", CVPR 2023, arXiv:2207.09653, whose private
    version is not public: unit, sampling, denominators and accounting are ours, see
    ``docs/feddm.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor

from fedsim.clients._private_set import PrivateSet
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.private_gradients import ImageMechanism, PrivateExamples, released
from fedsim.optimizers.update_rules import SGD
from fedsim.privacy.accountant import Release
from fedsim.privacy.noise import NoiseSource
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import generator_on

__all__ = ["PrivateMatching"]


@dataclass(frozen=True)
class PrivateMatching(PrivateSet):
    """Matching along clipped, noisy per-example gradients; ``privacy`` says clip and noise.

    Neighbours differ by one example of one client.  Images begin as noise in every round.
    """

    steps: Annotated[int, Ge(1)] = 50
    """Steps of matching in one round, the same for every client: each is one release."""
    sample_rate: Annotated[float, Gt(0), Le(1)] = 0.1
    """Every example's chance to be in a step's sample, the same for every client."""

    def made(
        self,
        sphere: Sphere,
        examples: PrivateExamples,
        terms: PrivacyParameters,
        generator: torch.Generator,
        source: NoiseSource,
    ) -> Tensor:
        """Return images after ``steps`` noisy steps: each is one release."""
        # Which models are matched on is public, and so is what the images begin as.
        generator = generator_on(generator, sphere.device)
        images = self.noise(examples, generator)
        mechanism = ImageMechanism(terms.clip, terms.noise_multiplier, self.sample_rate)
        optimizer = SGD(self.image_lr, self.image_momentum)
        velocity = torch.zeros_like(images)
        for _ in range(self.steps):
            gradient = released(images, examples, mechanism, (sphere, generator), source)
            images, velocity = optimizer.moved(images, gradient.float(), velocity)
        return images

    def releases(self, noise_multiplier: float, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release: steps, and counts."""
        steps = Release(noise_multiplier, self.sample_rate, self.steps * turns)
        return (steps, self.counted(turns))
