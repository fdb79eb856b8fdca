"""How good a model is on examples: accuracy and mean cross-entropy, in exact counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedsim.client import Examples

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Score", "score"]

BATCH = 512
"""Fixed, so that a score never depends on where or in how many pieces it was computed."""


@dataclass(frozen=True)
class Score:
    """What a model made of ``examples`` examples."""

    examples: int
    correct: int
    loss_sum: float
    """Cross-entropy in nats, summed over the examples."""

    @property
    def accuracy(self) -> float:
        """The share of examples labelled rightly; NaN where there is none."""
        return self.correct / self.examples if self.examples else float("nan")

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats; NaN where there is no example."""
        return self.loss_sum / self.examples if self.examples else float("nan")


def score(model: nn.Module, examples: Examples) -> Score:
    """Return the score of ``model``, in evaluation mode, on ``examples``; the mode is put back."""
    import torch
    from torch.nn.functional import cross_entropy

    was_training = model.training
    model.eval()
    correct, loss = 0, 0.0
    with torch.no_grad():
        for start in range(0, len(examples), BATCH):
            labels = examples.labels[start : start + BATCH]
            logits = model(examples.inputs[start : start + BATCH])  # (batch, classes)
            correct += int((logits.argmax(dim=1) == labels).sum())
            loss += float(cross_entropy(logits.double(), labels, reduction="sum"))
    model.train(was_training)
    return Score(len(examples), correct, loss)
