"""A client's examples, class after class, from which batches of all classes are drawn at once."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fedsim.client import Examples

__all__ = ["Batch", "ByClass"]


@dataclass(frozen=True)
class ByClass:
    """The examples of the classes that a client holds enough of."""

    inputs: Tensor
    """Shape ``(n, *features)``, in the order of ``classes``."""
    classes: Tensor
    """Shape ``(classes,)``: their labels, ascending."""
    sizes: Tensor
    """Shape ``(classes,)``: how many examples each has."""

    @classmethod
    def of(cls, examples: Examples, least: int) -> ByClass:
        """Return ``examples`` without the classes that have fewer than ``least``."""
        labels, counts = torch.unique(examples.labels, return_counts=True)
        classes, sizes = labels[counts >= least], counts[counts >= least]
        is_enough = torch.isin(examples.labels, classes)
        order = examples.labels[is_enough].argsort(stable=True)
        return cls(examples.inputs[is_enough][order], classes, sizes)

    @property
    def owner(self) -> Tensor:
        """For each example, the place of its class in ``classes``: shape ``(n,)``."""
        places = torch.arange(len(self.sizes), device=self.sizes.device)
        return places.repeat_interleave(self.sizes)

    @property
    def starts(self) -> Tensor:
        """Where each class begins, shape ``(classes,)``."""
        return self.sizes.cumsum(0) - self.sizes

    def shuffled(self, generator: torch.Generator) -> Tensor:
        """Return the places of all examples, ``(n,)``: class after class, random within each."""
        owner = self.owner
        # One sort for all classes: a key in [0, 1) is added to the number of the class.
        keys = torch.rand(len(owner), generator=generator, device=owner.device, dtype=torch.float64)
        return (keys + owner).argsort()

    def some(self, per_class: int, generator: torch.Generator) -> Tensor:
        """Return random examples `(classes, per_class, *features)`, repeated where there are few.

        Which ones is a matter of ``generator``, a generator of the examples' device.
        """
        within = torch.arange(per_class, device=self.sizes.device) % self.sizes[:, None]
        return self.inputs[self.shuffled(generator)[self.starts[:, None] + within]]


class Batch:
    """Draws, without replacement, ``most`` examples of each class, or all where there are fewer.

    Args:
        held: what there is to draw from.
        most: of each class.
    """

    def __init__(self, examples: ByClass, most: int) -> None:
        self._held = examples
        sizes = examples.sizes.clamp(max=most)
        within = torch.arange(int(sizes.max()), device=sizes.device)
        self._places = (examples.starts[:, None] + within)[within < sizes[:, None]]
        owner = torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes)
        self.average = torch.nn.functional.one_hot(owner).T / sizes[:, None]
        """The matrix of class means, ``(classes, batch)``: its product with one row per example
        is one row per class."""

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return the inputs of a batch, ``(batch, *features)``, class after class."""
        return self._held.inputs[self._held.shuffled(generator)[self._places]]
