"""Plain local SGD, with one hook for the rules that correct its gradients."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Annotated, Literal

import numpy as np
import torch
from annotated_types import Ge, Gt, Le, Lt
from torch import Tensor, nn

from fedsim.augmentations.augmentation import Augmentation, augmented
from fedsim.client import Client, Examples, StackedClient
from fedsim.clients._accumulated import step_gradients
from fedsim.clients._stopping import EpochWatch
from fedsim.errors import RunError
from fedsim.optimizers.clipping import clip
from fedsim.optimizers.optimizer import Correction, Optimizer
from fedsim.optimizers.schedule import RateSchedule
from fedsim.optimizers.stepping import Stepping
from fedsim.optimizers.stop_rule import StopRule
from fedsim.optimizers.update_rules import SGD
from fedsim.schema.part import PartOf
from fedsim.seeds import seeded_layers
from fedsim.stacked.stacked_sgd import train_stacked
from fedsim.wire import Instruction, Update, Weights

__all__ = ["Sgd"]


@dataclass(frozen=True)
class Sgd(Client):
    """Passes over the client's own examples in shuffled batches, as ``torch.optim.SGD`` steps."""

    lr: Annotated[float, Gt(0)] = 0.1
    """The step size."""
    epochs: Annotated[int, Ge(1)] = 1
    """Passes over the client's examples in one round."""
    batch_size: Annotated[int, Ge(1)] = 32
    """Examples per batch; what is left at the end of a pass makes a smaller batch."""
    momentum: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Momentum of the local steps; it starts from rest in every round."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """Adds this times the weights to the gradients."""
    lr_decay: Annotated[float, Gt(0), Le(1)] = 1.0
    """The step size is multiplied by this after every round."""
    steps: Annotated[int, Ge(1)] | None = None
    """Steps in one round, the same for every client, instead of ``epochs``."""
    optimizer: Annotated[Optimizer, PartOf("optimizer")] | None = None
    """What takes the steps, with its own step size; by default SGD with the keys beside this."""
    state: Literal["reset", "keep"] = "reset"
    """Whether a client keeps the optimizer's state from round to round; it is never sent."""
    schedule: Annotated[RateSchedule, PartOf("schedule")] | None = None
    """What the step size is multiplied by, over rounds or the steps of a round."""
    clip: Annotated[float, Gt(0)] | None = None
    """The length that the gradients of a batch, all together, are cut to."""
    accumulate: Annotated[int, Ge(1)] = 1
    """Batches whose gradients are put together for one step."""
    drop_last: bool | Literal["single"] = False
    """Whether what is left at the end of a pass is left out; single: only a single example."""
    augment: tuple[Annotated[Augmentation, PartOf("augmentation")], ...] = ()
    """How examples are changed at random before each pass, in this order: crop, flip, ..."""
    stop: Annotated[StopRule, PartOf("stop_rule", "patience")] | None = None
    """When a turn ends before its last epoch, by the loss on the client's own validation part."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Return how far training on ``examples`` moved the weights.

        The metric ``loss`` is the mean over the examples of the last pass, each measured when
        its batch was met.  A client without examples moves nothing.
        """
        before, metrics = instruction.broadcast.weights, {}
        memory: dict[str, Weights] = {}
        if len(examples) > 0:
            with seeded_layers(generator, _device(model)):
                stepping = self.stepping(instruction, len(examples))
                metrics["loss"] = self._descend(model, examples, instruction, generator, stepping)
            if self.stop is not None:
                metrics["steps"] = float(stepping.taken)
            memory = stepping.kept() if self.state == "keep" else {}
        after = {name: parameter.detach() for name, parameter in model.named_parameters()}
        if not before.keys() <= after.keys():  # buffers, which take longer to list
            after = model.state_dict()
        delta = {name: after[name].to(value.device) - value for name, value in before.items()}
        return Update(instruction.client.id, delta, len(examples), metrics, memory=memory)

    def train_together(self, model: nn.Module, members: Sequence[StackedClient]) -> list[Update]:
        """Return what :meth:`train` would give each seat, up to rounding, in the same steps.

        Raises:
            RunError: if ``model`` cannot be stacked, or a subclass descends in a way of its own.
        """
        overridable = (type(self)._descend, type(self)._batches)
        if overridable != (Sgd._descend, Sgd._batches):
            raise RunError(f"{type(self).__name__} descends in a way of its own")
        if self.stop is not None:
            raise RunError("a client that stops by its validation part trains alone")
        if self.augment:
            raise RunError("examples that are changed before each pass are of one client at a time")
        if self.state == "keep":
            raise RunError("a client that keeps its optimizer's state trains alone")
        return train_stacked(self, model, members)

    def correction(self, instruction: Instruction, weights: Weights) -> Correction | None:
        """Return what is to change the gradients of every batch of this turn, if anything.

        Stacked clients make a :class:`~fedsim.optimizers.optimizer.StackableCorrection` together,
        and any other one after another.

        Args:
            instruction: what the server asks.
            weights: the model's own, by name and on its device: they move with every step,
                and hold ``instruction.broadcast.weights`` when this is called.
        """
        return None

    @property
    def needs_validation(self) -> bool:
        """Whether turns may end early."""
        return self.stop is not None

    @property
    def fixed_batch_size(self) -> int:
        """The size of all batches but the last of a pass."""
        return self.batch_size

    def rate(self, instruction: Instruction) -> float:
        """Return the step size in the round of ``instruction``, before the schedule."""
        lr = self.lr if self.optimizer is None else self.optimizer.lr
        return lr * self.lr_decay ** (instruction.round - 1)

    def local_optimizer(self) -> Optimizer:
        """Return what takes the steps."""
        return self.optimizer or SGD(self.lr, self.momentum, self.weight_decay)

    def rates(self, instruction: Instruction, examples: int) -> list[float]:
        """Return the size of each step that a client of so many examples takes in this turn."""
        rate, count = self.rate(instruction), self.step_count(examples)
        if self.schedule is None:
            return [rate] * count
        return [rate * factor for factor in self.schedule.factors(instruction.round, count)]

    def stepping(self, instruction: Instruction, examples: int) -> Stepping:
        """Return the optimiser at the start of the turn of ``instruction``."""
        memory = instruction.memory if self.state == "keep" else {}
        return Stepping(self.local_optimizer(), self.rates(instruction, examples), memory)

    def step_count(self, examples: int) -> int:
        """Return how many steps a client of so many examples takes in one round."""
        if examples == 0:
            return 0
        return self.steps or self.epochs * self.steps_per_pass(examples)

    @property
    def examples_per_step(self) -> int:
        """How many examples the gradients of a step come from, but at the end of a pass."""
        return self.batch_size * self.accumulate

    def steps_per_pass(self, examples: int) -> int:
        """Return how many steps a pass over so many examples takes."""
        return math.ceil(self.examples_per_pass(examples) / self.examples_per_step)

    def examples_per_pass(self, examples: int) -> int:
        """Return how many of so many examples a pass meets; all, unless some are left out."""
        left = examples % self.batch_size
        if examples <= self.batch_size or not self.drop_last:
            return examples
        return examples if self.drop_last == "single" and left != 1 else examples - left

    def _descend(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
        stepping: Stepping,
    ) -> float:
        """Take the steps and return the mean loss of the last pass."""
        device, size = _device(model), len(examples)
        examples = examples.to(device)
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
        # Detached, they share the parameters' memory, and a step needs no no_grad block.
        weights = {name: parameter.detach() for name, parameter in trained.items()}
        correct = self.correction(instruction, weights)
        stepping.start(weights)
        part = self.batch_size if self.accumulate > 1 else None
        per_pass, inputs = self.steps_per_pass(size), examples.inputs
        watch = EpochWatch.of(self.stop, model, examples)
        last_pass: deque[tuple[Tensor, int]] = deque(maxlen=per_pass)
        for number, batch in enumerate(self._batches(size, generator, device)):
            if self.augment and number % per_pass == 0:
                # Of a stream beside the generator's own: it moves no batch.
                seed, epoch = generator.initial_seed(), number // per_pass
                changed = augmented(inputs, self.augment, seed, epoch)
                examples = replace(examples, inputs=changed)
            loss, gradients = step_gradients(examples, model, trained, batch, part)
            last_pass.append((loss.detach(), len(batch)))
            if self.clip is not None:
                clip(gradients, self.clip)
            if correct is not None:
                correct(gradients)
            stepping.step(weights, gradients)
            if watch is not None and (number + 1) % per_pass == 0 and watch.ends(stepping.taken):
                break
        if watch is not None:
            watch.restore(stepping)
        losses, sizes = zip(*last_pass, strict=True)
        # What numpy.average makes of it, to the last bit and in a third of the time.
        weighted = np.multiply(torch.stack(losses).cpu().numpy(), sizes, dtype=np.float64)
        return float(weighted.sum() / sum(sizes))

    def _batches(
        self, examples: int, generator: torch.Generator, device: torch.device
    ) -> Iterator[Tensor]:
        """Yield the places of the examples of each step, `(batch,)`."""
        met = self.examples_per_pass(examples)

        def passes() -> Iterator[Tensor]:
            while True:
                order = torch.randperm(examples, generator=generator).to(device)
                yield from torch.split(order[:met], self.examples_per_step)

        return islice(passes(), self.step_count(examples))


def _device(model: nn.Module) -> torch.device:
    return next(model.parameters()).device
