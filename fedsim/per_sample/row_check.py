"""Whether an example's numbers are the same bits in any row of a batch: measured on a run's model.

Bounds of record-level privacy rest on it: one example more must move no bit of another's share.
The kernels that are pinned in :mod:`fedsim.kernels` promise it; this looks whether they keep to it
for the layers and the batch size at hand, on the processor at hand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.per_sample.clipped_sums import per_example
from fedsim.per_sample.gradients import WrittenOut
from fedsim.seeds import torch_stream
from fedsim.task import Task

__all__ = ["gradients_are_exact", "outputs_are_exact"]

Rows = Callable[[Examples], Sequence[Tensor]]
"""From a batch of ``n`` examples to tensors of ``n`` rows."""


def outputs_are_exact(model: nn.Module, shape: Sequence[int], task: Task, size: int) -> bool:
    """Return whether an example's logits do not depend on its row.

    Args:
        model: of the run; its training mode is left as it was.
        shape: of one example.
        task: what is learnt: it says what targets are like.
        size: how many examples go through the model together.
    """

    def logits(batch: Examples) -> Sequence[Tensor]:
        with torch.no_grad():
            return [model(batch.inputs)]

    return _is_exact(logits, model, _Batches(shape, task, size, _takes_tokens(model)))


def gradients_are_exact(model: nn.Module, shape: Sequence[int], task: Task, size: int) -> bool:
    """Return whether an example's gradient, as DP-SGD takes it, does not depend on its row.

    Args:
        model: of the run; its training mode is left as it was.
        shape: of one example.
        task: what is learnt: it says what targets are like.
        size: how many examples go through the model together.
    """
    explicit = WrittenOut.of(model, task)
    if explicit is None:
        slopes = per_example(model, task)
        weights = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

        def gradients(batch: Examples) -> Sequence[Tensor]:
            return list(slopes(weights, batch.inputs, batch.labels).values())
    else:

        def gradients(batch: Examples) -> Sequence[Tensor]:
            parts = [p for piece in explicit(batch, size).values() for p in vars(piece).values()]
            return [part for part in parts if isinstance(part, Tensor)]

    return _is_exact(gradients, model, _Batches(shape, task, size, _takes_tokens(model)))


class _Batches:
    """Batches of one size that hold the same example in other rows, amid other examples."""

    def __init__(self, shape: Sequence[int], task: Task, size: int, are_tokens: bool) -> None:
        self._generator = torch_stream(0, "row check")
        self._shape, self._task, self.size = tuple(shape), task, size
        self._are_tokens = are_tokens
        self._example = self._drawn(1)

    def _drawn(self, count: int) -> Examples:
        targets, classes = self._task.targets, max(self._task.targets.classes, 2)
        shape = (count, *targets.shape)
        inputs = torch.randn(count, *self._shape, generator=self._generator)
        if self._are_tokens:
            inputs = torch.randint(classes, inputs.shape, generator=self._generator)
        if targets.dtype.startswith("float"):
            return Examples(inputs, torch.rand(shape, generator=self._generator))
        return Examples(inputs, torch.randint(classes, shape, generator=self._generator))

    def with_example_in(self, row: int) -> Examples:
        """Return a batch of new examples, but for the one in ``row``."""
        batch = self._drawn(self.size)
        batch.inputs[row], batch.labels[row] = self._example.inputs[0], self._example.labels[0]
        return batch


def _is_exact(rows: Rows, model: nn.Module, batches: _Batches) -> bool:
    was_training = model.training
    model.eval()  # dropout draws for each row; what is looked for is the kernels' doing
    device = next(model.parameters()).device
    try:
        numbers = []
        for row in sorted({0, 1 % batches.size, batches.size // 2, batches.size - 1}):
            batch = batches.with_example_in(row)
            on_device = Examples(batch.inputs.to(device), batch.labels.to(device))
            numbers.append([tensor[row] for tensor in rows(on_device)])
    finally:
        model.train(was_training)
    return all(
        torch.equal(first, reference)
        for others in numbers[1:]
        for first, reference in zip(numbers[0], others, strict=True)
    )


def _takes_tokens(model: nn.Module) -> bool:
    return "tokens" in getattr(model, "takes", "")
