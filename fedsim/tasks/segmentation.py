"""A class for every place of an image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from fedsim.metrics.counting import Confusion
from fedsim.metrics.likelihood import TaskLoss
from fedsim.metrics.overlap import ImageOverlap
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Segmentation"]


@dataclass(frozen=True)
class Segmentation(Task):
    """Targets are class numbers `(n, h, w)`; outputs are `(n, C, h, w)`.

    References:
        Milletari, Navab, Ahmadi, "V-Net", 3DV 2016, section 3 (dice, here over classes).
    """

    loss: Literal["cross_entropy", "dice", "both"] = "cross_entropy"
    """The mean over places of the cross-entropy, 1 - Dice of the probabilities, or their sum."""
    metrics: ClassVar[tuple[str, ...]] = ("dice", "iou", "dice_image", "pixel_accuracy", "loss")
    measurable: ClassVar[tuple[str, ...]] = (
        "dice", "iou", "dice_image", "pixel_accuracy", "balanced_accuracy", "loss",
    )  # fmt: skip

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A logit for every class at every place, `(classes, height, width)`."""
        return (self.outputs, *self.targets.shape)

    def refusal(self) -> str:
        """Return why the targets are no masks."""
        if len(self.targets.shape) != 2:
            what = f"each target has the shape {self.targets.shape}"
            return f"{what}: segmentation takes a mask (height, width)"
        if self.targets.dtype.startswith("float"):
            return f"the targets are {self.targets.dtype}, no class numbers"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each image's loss, and 1."""
        from torch.nn.functional import cross_entropy

        each = outputs.new_zeros(len(outputs))
        if self.loss != "dice":
            each = each + cross_entropy(outputs, targets, reduction="none").flatten(1).mean(dim=1)
        if self.loss != "cross_entropy":
            each = each + _dice_loss(outputs, targets)
        return each, each.new_ones(len(each))

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``labels`` `(n, h, w)`."""
        return Computed(labels=lambda: outputs.argmax(dim=1))

    def statistics(self) -> Sequence[Statistic]:
        """Return areas by class, pooled and by image, and losses."""
        classes = self.targets.classes
        return Confusion(classes), ImageOverlap(classes), TaskLoss()

    def baseline(self) -> Tensor | None:
        """Return the logarithms of the classes' shares at every place, `(classes, h, w)`."""
        import torch

        if not self.targets.counts:
            return None
        counts = torch.tensor(self.targets.counts, dtype=torch.float64)
        shares = (counts / counts.sum()).clamp(min=1e-12).log()
        return shares[:, None, None].expand(len(counts), *self.targets.shape)


def _dice_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return ``1 - mean_c 2 sum p_c y_c / (sum p_c + sum y_c)`` of each image, `(n,)`."""
    from torch.nn.functional import one_hot

    probabilities = outputs.softmax(dim=1).flatten(2)
    true = one_hot(targets, outputs.shape[1]).movedim(-1, 1).flatten(2).to(outputs.dtype)
    overlap = 2 * (probabilities * true).sum(dim=2) + 1  # 1 on both sides: no class is 0 / 0
    area = probabilities.sum(dim=2) + true.sum(dim=2) + 1
    return 1 - (overlap / area).mean(dim=1)
