"""Feature shift: clients whose labels follow one law see unlike inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Interval

from fedsim.data.dataset import Array
from fedsim.data.image_transforms import rotated
from fedsim.errors import DataError

__all__ = ["Contrast", "Noise", "Rotation"]


@dataclass(frozen=True)
class Noise:
    """Gaussian noise that grows with the client's number.

    Client ``k`` of ``K`` adds noise of standard deviation ``sigma * k / K``: the noise-based
    feature imbalance of NIID-Bench (Li, Diao, Chen, He, "Federated Learning on Non-IID Data
    Silos", ICDE 2022, arXiv:2102.02079), drawn once per example.  Client 0 has none.
    """

    sigma: Annotated[float, Ge(0)] = 0.1
    """Standard deviation that the noise grows towards, in units of the inputs; images are in
    [0, 1]."""

    def apply(
        self, inputs: Array, client: int, clients: int, generator: np.random.Generator
    ) -> Array:
        """Return the inputs with client ``client``'s noise, shape and dtype unchanged."""
        spread = np.float32(self.sigma * client / clients)
        noise: Array = generator.standard_normal(inputs.shape, dtype=np.float32)
        return inputs + spread * noise


@dataclass(frozen=True)
class Rotation:
    """Client ``k`` of ``K`` holds every picture turned by ``degrees * k / K``, corners black."""

    degrees: Annotated[float, Interval(ge=-360, le=360)] = 45.0

    def apply(
        self, inputs: Array, client: int, clients: int, generator: np.random.Generator
    ) -> Array:
        """Return the turned pictures, shape and dtype unchanged, bilinear in between.

        Raises:
            DataError: if the inputs are no images.
        """
        _need_images(inputs, "rotation")
        return rotated(inputs, self.degrees * client / clients)


@dataclass(frozen=True)
class Contrast:
    """Client ``k`` of ``K`` loses the share ``strength * k / K`` of each picture's contrast."""

    strength: Annotated[float, Interval(ge=0, le=1)] = 0.8

    def apply(
        self, inputs: Array, client: int, clients: int, generator: np.random.Generator
    ) -> Array:
        """Return the pictures drawn towards their own mean, shape and dtype unchanged.

        Raises:
            DataError: if the inputs are no images.
        """
        _need_images(inputs, "contrast")
        mean = inputs.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float32)
        contrast = np.float32(1 - self.strength * client / clients)
        faded: Array = mean + contrast * (inputs - mean)
        return faded


def _need_images(inputs: Array, what: str) -> None:
    if inputs.ndim != 4:
        shape = inputs.shape[1:]
        raise DataError(f"{what} needs images (channels, height, width), not inputs of {shape}")
