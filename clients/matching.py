"""Small synthetic sets in place of weights, as FedDM asks of its clients.

References:
    Xiong, Wang, Cheng, Yu, Hsieh, "FedDM: Iterative Distribution Matching for
    Communication-Efficient Federated Learning", CVPR 2023, arXiv:2207.09653.
    Zhao, Bilen, "Dataset Condensation with Distribution Matching", WACV 2023, arXiv:2110.04181.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from annotated_types import Ge, Gt, Lt
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.clients._plain_sgd import PlainSgd
from fedsim.condense.augment import Augment, augmentation
from fedsim.condense.by_class import Batch, ByClass
from fedsim.condense.memorisation import nearest_distances
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.pixel_coding import PIXEL_BYTES, Coding
from fedsim.condense.synthetic_set import SyntheticSetTerms, sent_set
from fedsim.errors import RunError
from fedsim.models._split import at_once, check_split, class_means, embedded, mismatch
from fedsim.optimizers.update_rules import SGD
from fedsim.seeds import generator_on
from fedsim.wire import Instruction, Update

__all__ = ["Matching"]


@dataclass(frozen=True)
class Matching(PlainSgd):
    """Images whose class means of features and logits are those of the client's own examples.

    They are matched on models around the server's, all classes at once.  Nothing is private here:
    with ``init: real`` what is sent are near-copies of real images, with ``steps: 0`` the images
    themselves.
    """

    images_per_class: Annotated[int, Ge(1)] = 10
    """Synthetic images of each class that the client has enough examples of."""
    steps: Annotated[int, Ge(0)] = 1000
    """Steps of matching in one round; with 0 the images are sent as they begin."""
    real_batch: Annotated[int, Ge(1)] = 256
    """Real examples of each class per step, none twice; all where there are fewer."""
    image_lr: Annotated[float, Gt(0)] = 1.0
    """Step size of the images."""
    image_momentum: Annotated[float, Ge(0), Lt(1)] = 0.5
    """Momentum of the images' steps."""
    radius: Annotated[float, Ge(0)] = 5.0
    """Distance of the models that are matched on from the server's, over all parameters."""
    min_examples: Annotated[int, Ge(1)] = 10
    """A class with fewer examples is left out; a client that has no other sends an empty set."""
    init: Literal["real", "noise"] = "real"
    """What images begin as in every round: real ones, which they then stay near, or noise."""
    coding: Coding = "fp32"
    """How pixels travel: 4, 2 or 1 bytes each."""
    max_bytes: Annotated[int, Ge(1)] = 536_870_912
    """More bytes of images than this are refused: Flower's own limit of a message."""
    augment: Augment = "none"
    """Random shift, scale and flip, the same for real and synthetic images: part of DSA."""
    memorisation: bool = False
    """Measure how near the images come to real ones: reports means over private data."""
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should see before the run."""
        if self.init == "noise":
            return ()
        what = "real images themselves" if self.steps == 0 else "near-copies of real images"
        return (f"clients share {what} with the server (init: real)",)

    def match(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return the client's synthetic set as the extra ``synthetic``; the weights stay.

        It holds the ``images`` as they are coded, ``(n, *features)``, and their ``labels``; where
        the server asks for it, ``weight``: how many real examples each image stands for.

        Raises:
            RunError: if the model cannot be matched on, or the set is larger than ``max_bytes``.
        """
        check_split(model, "matching")
        by_class = ByClass.of(examples, self.min_examples)
        self._check_size(by_class)
        metrics: dict[str, float] = {}
        images = examples.inputs.new_empty(0, *examples.inputs.shape[1:])
        if len(by_class.classes):
            images, metrics = self._made(Sphere(model.eval(), self.radius), by_class, generator)
        labels = by_class.classes.repeat_interleave(self.images_per_class)
        stands_for = by_class.sizes / self.images_per_class
        stands_for = stands_for.repeat_interleave(self.images_per_class)
        terms = SyntheticSetTerms.from_broadcast(instruction.broadcast)
        sent = sent_set(images, labels, self.coding, stands_for, terms)
        return Update(instruction.client.id, {}, len(by_class.inputs), metrics, sent.to_extras())

    def _check_size(self, by_class: ByClass) -> None:
        pixels = len(by_class.classes) * self.images_per_class * by_class.inputs[:1].numel()
        if (size := pixels * PIXEL_BYTES[self.coding]) > self.max_bytes:
            raise RunError(
                f"images_per_class: {self.images_per_class} images of "
                f"{len(by_class.classes)} classes take {size} bytes, "
                f"max_bytes allows {self.max_bytes}"
            )

    def _made(
        self, sphere: Sphere, by_class: ByClass, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, float]]:
        """Return the images, `(n, *features)`, and what is known of them."""
        generator = generator_on(generator, by_class.inputs.device)
        images = by_class.some(self.images_per_class, generator)
        if self.init == "noise":
            images = torch.randn(images.shape, generator=generator, device=images.device)
        metrics = {}
        if self.steps:
            images, loss = self._matched(images, sphere, by_class, generator)
            metrics["mismatch"] = float(loss) / len(by_class.classes)
        if self.memorisation:
            metrics |= nearest_distances(images, by_class)
        return images.flatten(0, 1), metrics

    def _matched(
        self, images: Tensor, sphere: Sphere, by_class: ByClass, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return the images, `(classes, per class, *features)`, and the last step's mismatch."""
        model, batch = sphere.model, Batch(by_class, self.real_batch)
        optimizer = SGD(self.image_lr, self.image_momentum)
        velocity, loss = torch.zeros_like(images), images.new_zeros(())
        for _ in range(self.steps):
            sphere.move(generator)
            change = augmentation(self.augment, images.shape[1:], generator)
            real = class_means(model, change(batch.draw(generator)), batch.average)
            gradient, loss = _gradient(model, images, real, change)
            images, velocity = optimizer.moved(images, gradient, velocity)
        return images, loss


def _gradient(
    model: nn.Module, images: Tensor, real: Tensor, change: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """Return the gradient of the mismatch with respect to ``images``, and the mismatch.

    The classes' terms are independent, so several classes go through the model together, or
    all of them, as is fastest.

    Args:
        model: makes features and logits.
        images: `(classes, per class, *features)`.
        real: the class means to come near to, `(classes, width + logits)`.
        change: the step's augmentation.
    """
    classes, each = images.shape[:2]
    together = max(1, at_once(images.flatten(0, 1)) // each)
    gradients: list[Tensor] = []
    loss = images.new_zeros(())
    for first in range(0, classes, together):
        chosen = images[first : first + together].detach().requires_grad_()
        synthetic = (
            embedded(model, change(chosen.flatten(0, 1))).reshape(*chosen.shape[:2], -1).mean(dim=1)
        )
        part = mismatch(real[first : first + together], synthetic)
        gradients += torch.autograd.grad(part, chosen)
        loss += part.detach()
    return torch.cat(gradients), loss
