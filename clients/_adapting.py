"""What clients of all domains share: sources learn their labels, targets never see one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Self

import numpy as np
import torch
from annotated_types import Gt
from torch import Tensor, nn

from fedsim.adapt.gls import confusion_sum
from fedsim.adapt.gls_messages import GlsReply, GlsSums
from fedsim.adapt.heeded import Heeded
from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.optimizers.clipping import clip
from fedsim.optimizers.distance import without_decay
from fedsim.optimizers.stepping import Stepping
from fedsim.seeds import generator_from
from fedsim.wire import Instruction, Update, Weights

__all__ = ["Adapting", "Objective", "repeated", "slopes"]

Objective = Callable[[Tensor, Tensor | None], Tensor]
"""A batch's loss: of inputs `(batch, *features)` and labels `(batch,)`, None at a target."""

BATCH = 512
"""Rows at once where a client looks at all its examples."""


@dataclass(frozen=True)
class Adapting(Sgd):
    """SGD on an objective of the client's own domain; where the server sends none it is SGD."""

    max_norm: Annotated[float, Gt(0)] = 5.0
    """Gradients of the objective are cut to this length: domains that pull against each other
    can pull each other away."""
    tasks: ClassVar[tuple[str, ...]] = ("classification",)
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = (
        ("clip", "gradients are cut to max_norm already"),
        ("augment", "its loss compares domains by their examples as they are"),
        ("stop", "a target has no labels to stop by"),
        ("accumulate", "its loss compares the examples of a batch, so that parts do not add up"),
    )

    def objective(self, model: nn.Module, instruction: Instruction) -> Objective:
        """Return the loss of a batch, for the client's role."""
        raise NotImplementedError

    def of_role(self, instruction: Instruction) -> Self:
        """Return the rule of the client's role.

        What the domains do is added: decay is the sources' business, or it would count twice.
        """
        if instruction.client.role == "source":
            return self
        optimizer = None if self.optimizer is None else without_decay(self.optimizer)
        return replace(self, weight_decay=0.0, optimizer=optimizer)

    def adapts(self, instruction: Instruction) -> bool:
        """Return whether the server sent what the objective needs; the references do not."""
        return bool(instruction.broadcast.extras)

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return how far the steps on the objective moved the weights, and from which domain."""
        if not self.adapts(instruction):
            return super().train(model, examples, instruction, generator)
        update = super(Adapting, self.of_role(instruction)).train(
            model, examples, instruction, generator
        )
        metrics = dict(update.metrics)
        if instruction.client.role == "target" and "loss" in metrics:
            metrics["target_loss"] = metrics.pop("loss")
        return replace(update, metrics=metrics, extras=Heeded().to_extras())

    def gls(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return a source's confusion sum, or the sum of what is predicted of a target.

        One pass in evaluation mode; the weights stay.
        """
        model.eval()
        at_source = instruction.client.role == "source"
        sums: Tensor | None = None
        for rows in batches(len(examples)):
            with torch.no_grad():
                soft = model(examples.inputs[rows]).double().softmax(dim=1)
            part = confusion_sum(soft, examples.labels[rows]) if at_source else soft.sum(dim=0)
            sums = part if sums is None else sums + part
        sent = GlsSums(confusion=sums) if at_source else GlsSums(prediction=sums)
        extras = GlsReply(gls=sent.to_weights()).to_extras()
        return Update(instruction.client.id, {}, len(examples), extras=extras)

    def _descend(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
        stepping: Stepping,
    ) -> float:
        """Take the steps on the objective and return the mean loss of the last pass."""
        if not self.adapts(instruction):
            return super()._descend(model, examples, instruction, generator, stepping)
        loss_of = self.objective(model, instruction)
        labels = examples.labels if instruction.client.role == "source" else None
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        weights = {name: parameter.detach() for name, parameter in trained.items()}
        stepping.start(weights)
        passed: deque[tuple[Tensor, int]] = deque(maxlen=self.steps_per_pass(len(examples)))
        for batch in self._batches(len(examples), generator, examples.inputs.device):
            loss = loss_of(examples.inputs[batch], None if labels is None else labels[batch])
            passed.append((loss.detach(), len(batch)))
            gradients = slopes(loss, trained)
            clip(gradients, self.max_norm)
            stepping.step(weights, gradients)
        losses, sizes = zip(*passed, strict=True)
        return float(np.average(torch.stack(losses).cpu().numpy(), weights=sizes))


def slopes(loss: Tensor, leaves: Mapping[str, Tensor], again: bool = False) -> Weights:
    """Return the gradients of ``loss``, no two in the same memory; zeros where it has none.

    Args:
        loss: a scalar.
        leaves: what to differentiate for, by name.
        again: keep what led to ``loss``, for another one that shares it.
    """
    gradients = torch.autograd.grad(
        loss, list(leaves.values()), retain_graph=again, allow_unused=True
    )
    return {
        name: torch.zeros_like(leaf) if gradient is None else gradient.clone()
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }


def batches(examples: int) -> Iterator[slice]:
    """Yield slices that together hold all rows, in order."""
    yield from (slice(start, start + BATCH) for start in range(0, examples, BATCH))


def repeated(generator: torch.Generator, turn: int) -> torch.Generator:
    """Return the stream of the ``turn``-th time, from 0, that one round asks for a phase."""
    seeds = torch.randint(2**62, (turn + 1,), generator=generator)
    return generator_from(int(seeds[-1]))
