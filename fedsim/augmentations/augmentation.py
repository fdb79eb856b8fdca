"""The contract of an augmentation: a random change of training examples, a draw for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.errors import RunError
from fedsim.seeds import torch_stream

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = ["Augmentation", "augmented"]

_BLOCK = 1024
"""Examples that are changed at once; a part of what the draws are, so it is the same everywhere."""


@dataclass(frozen=True)
class Augmentation:
    """A random change of examples; its fields are what a scenario may set."""

    of_images: ClassVar[bool] = False
    """Whether examples have to be images, `(channels, height, width)`."""
    moves_pixels: ClassVar[bool] = False
    """Whether pixels go elsewhere, so that a label for each pixel would have to go with them."""

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Return the examples changed; ``inputs`` stays as it is.

        Args:
            inputs: `(n, *features)`, normalised, float32.
            generator: of the CPU, and the only source of randomness: draw for each example.
        """
        raise NotImplementedError(f"{type(self).__name__} has no method changed")


def augmented(inputs: Tensor, chain: Sequence[Augmentation], seed: int, number: int) -> Tensor:
    """Return what a client trains on in one pass: its examples, changed by each of ``chain``.

    All examples are changed before the pass, in their own order.  So what becomes of one depends
    neither on its batch nor on the batches' size, and each augmentation has a stream of its own.

    Args:
        inputs: of all the client's examples, `(n, *features)`.
        chain: in this order.
        seed: of the client's turn.
        number: of the pass, from 0.

    Raises:
        RunError: if an augmentation does not take such examples, or returns others than it took.
    """
    import torch

    streams = [torch_stream(seed, "augment", number, place) for place in range(len(chain))]
    blocks = []
    for block in torch.split(inputs, _BLOCK):
        for augmentation, stream in zip(chain, streams, strict=True):
            block = _checked(augmentation, block, stream)
        blocks.append(block)
    return torch.cat(blocks)


def _checked(augmentation: Augmentation, block: Tensor, stream: torch.Generator) -> Tensor:
    name, shape = type(augmentation).__name__, tuple(block.shape[1:])
    if not block.is_floating_point():
        raise RunError(f"local.augment: {name} changes numbers, and these are {block.dtype}")
    if augmentation.of_images and len(shape) != 3:
        raise RunError(f"local.augment: {name} takes images (channels, height, width), not {shape}")
    changed = augmentation.changed(block, stream)
    if changed.shape != block.shape or changed.dtype != block.dtype:
        what = f"{tuple(changed.shape)} of {changed.dtype}"
        raise RunError(
            f"local.augment: {name} made {what} of {tuple(block.shape)} of {block.dtype}: an "
            "example has to keep its shape and type"
        )
    return changed
