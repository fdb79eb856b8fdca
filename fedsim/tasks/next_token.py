"""The next token at every place of a sequence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from fedsim.metrics.likelihood import TaskLoss
from fedsim.metrics.overlap import TokenMatches
from fedsim.metrics.scored import Statistic
from fedsim.task import Computed, Task

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NextToken"]


@dataclass(frozen=True)
class NextToken(Task):
    """Targets are token ids `(n, L)`, below 0 where there is none; outputs are `(n, L, V)`.

    An example's loss is the sum over its tokens, and a batch's the mean over tokens: padding and
    the split into batches change nothing.
    """

    ignored: tuple[int, ...] = ()
    """Token ids that the token accuracy leaves out, such as unknown words or ends; the loss does
    not."""
    metrics: ClassVar[tuple[str, ...]] = ("token_accuracy", "perplexity", "loss")
    record: ClassVar[str] = "a window of text, and a person may have written many"
    measurable: ClassVar[tuple[str, ...]] = ("token_accuracy", "perplexity", "loss")

    @property
    def output_shape(self) -> tuple[int, ...]:
        """A logit for every token at every place, `(length, tokens)`."""
        return (*self.targets.shape, self.outputs)

    def refusal(self) -> str:
        """Return why the targets are no sequences of tokens."""
        if len(self.targets.shape) != 1:
            return f"each target has the shape {self.targets.shape}: next_token takes (length,)"
        if self.targets.dtype.startswith("float"):
            return f"the targets are {self.targets.dtype}, no token ids"
        return ""

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return each sequence's cross-entropy in nats, summed over tokens, and their number."""
        from torch.nn.functional import cross_entropy

        counted = targets >= 0
        each = cross_entropy(
            outputs.flatten(0, 1), targets.clamp(min=0).flatten(), reduction="none"
        ).view_as(counted)
        return (each * counted).sum(dim=1), counted.sum(dim=1).to(outputs.dtype)

    def example_losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return each sequence's mean over its tokens, `(n,)`."""
        losses, units = self.losses(outputs, targets)
        return losses / units.clamp(min=1)

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        """Return ``labels`` `(n, L)`: the most probable token of each place."""
        return Computed(labels=lambda: outputs.argmax(dim=-1))

    def statistics(self) -> Sequence[Statistic]:
        """Return counts of right tokens, and losses."""
        return TokenMatches(self.ignored), TaskLoss()

    def baseline(self) -> Tensor | None:
        """Return the logarithms of the classes' shares, at every place, `(length, tokens)`."""
        import torch

        if not self.targets.counts:
            return None
        counts = torch.tensor(self.targets.counts, dtype=torch.float64)
        shares = (counts / counts.sum()).clamp(min=1e-12).log()
        return shares.expand(*self.targets.shape, len(counts))
