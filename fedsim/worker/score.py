"""How good a model is on examples: sums over them, of which metrics are functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from fedsim.client import Examples
from fedsim.messages import Message
from fedsim.metrics.metric import Sums
from fedsim.metrics.scored import ScoredBatch
from fedsim.tasks._measures import Measures
from fedsim.wire import Update, Weights

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ConstantModel", "Score", "ScoreReply", "score"]

MOST_EXAMPLES = 512
"""In a batch.  Batches depend on shapes alone, so that a score never depends on where it was
computed."""

_PLACES, _VALUES, _SHAPE = "@places", "@values", "@shape"
_SHORT = 64
"""Numbers that travel as they are."""

MOST_OUTPUTS = 1 << 24
"""Numbers that a model returns for a batch: 512 windows of text would take gigabytes."""


@dataclass(frozen=True)
class Score:
    """What a model made of ``examples`` examples."""

    examples: int
    sums: Weights
    """On the CPU, by ``statistic.array``; empty where there is no example."""
    exact: Mapping[str, float] = field(default_factory=dict)
    """Metrics of these examples that sums tell only within a bound."""

    @property
    def arrays(self) -> Sums:
        """The sums as NumPy arrays."""
        return {name: value.numpy() for name, value in self.sums.items()}


@dataclass(frozen=True)
class ScoreReply(Message):
    """From a client that is evaluated."""

    statistics: Weights
    """The sums of its :class:`Score`; of long and mostly empty ones the places that are not 0."""

    @classmethod
    def of(cls, score: Score) -> ScoreReply:
        """Return the message that says ``score``'s sums."""
        statistics: Weights = {}
        for name, value in score.sums.items():
            places = value.flatten().nonzero()[:, 0]
            if value.numel() < _SHORT or 2 * len(places) > value.numel():
                statistics[name] = value
            else:
                statistics[f"{name}{_PLACES}"] = places
                statistics[f"{name}{_VALUES}"] = value.flatten()[places]
                statistics[f"{name}{_SHAPE}"] = places.new_tensor(value.shape)
        return cls(statistics)

    @classmethod
    def score_of(cls, update: Update) -> Score:
        """Return the score that a client sent.

        Raises:
            RunError: if it sent none.
        """
        statistics = cls.from_update(update, "sgd").statistics
        sums = {name: value for name, value in statistics.items() if "@" not in name}
        for key, shape in statistics.items():
            if key.endswith(_SHAPE):
                name = key.removesuffix(_SHAPE)
                values = statistics[f"{name}{_VALUES}"]
                whole = values.new_zeros(math.prod(shape.tolist()))
                whole[statistics[f"{name}{_PLACES}"]] = values
                sums[name] = whole.reshape(shape.tolist())
        return Score(update.examples, sums, update.metrics)


class ConstantModel:
    """Answers the same for every example; it stands in for a module where models are scored."""

    training = False

    def __init__(self, outputs: Tensor) -> None:
        """Keep what it answers for one example."""
        self._outputs = outputs

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the outputs for `(n, ...)` inputs, `(n, ...)`."""
        return self._outputs.expand(len(inputs), *self._outputs.shape)

    def eval(self) -> ConstantModel:
        """Return the model itself: it is never trained."""
        return self

    def train(self, mode: bool = True) -> ConstantModel:
        """Return the model itself."""
        return self


def score(model: nn.Module | ConstantModel, examples: Examples, measures: Measures) -> Score:
    """Return the score of ``model``, in evaluation mode, on ``examples``; the mode is put back."""
    import torch

    task = measures.task
    was_training = model.training
    model.eval()
    sums: dict[str, Tensor] = {}
    ranked: list[ScoredBatch] = []
    size = len(examples) if task.is_scored_whole else _batch_size(measures)
    with torch.no_grad():
        for start in range(0, len(examples), max(1, size)):
            rows = slice(start, start + size)
            weights = None if examples.weights is None else examples.weights[rows].double()
            outputs = model(examples.inputs[rows])
            batch = task.scored(outputs, examples.labels[rows], weights)
            for name, value in measures.sums(batch).items():
                sums[name] = sums[name] + value if name in sums else value
            ranked += [batch] if measures.ranking else []
    model.train(was_training)
    sums = {name: value.cpu() for name, value in sums.items()}
    return Score(len(examples), sums, _exact(ranked, measures) if ranked else {})


def _exact(batches: Sequence[ScoredBatch], measures: Measures) -> dict[str, float]:
    import torch

    def joined(tensors: Iterable[Tensor]) -> NDArray[Any]:
        array: NDArray[Any] = torch.cat(list(tensors)).cpu().numpy()
        return array

    scores = joined(batch.predictions["scores"] for batch in batches)
    targets = joined(batch.targets for batch in batches)
    weighted = [batch.weights for batch in batches if batch.weights is not None]
    weights = joined(weighted) if weighted else None
    return {
        metric.name: metric.exact(scores, targets, weights)
        for metric in measures.ranking
        if metric.exact is not None
    }


def _batch_size(measures: Measures) -> int:
    numbers = measures.task.outputs * math.prod(measures.task.targets.shape)
    return max(1, min(MOST_EXAMPLES, MOST_OUTPUTS // max(1, numbers)))
