"""The contract of a client: a local update rule that turns an instruction into an update.

A local update rule is a frozen dataclass whose fields a scenario sets under ``local``.  To write
one, derive it from :class:`Client` and override what your paper changes:

==================  ============================================================  ==============
hook                what it says or does                                          overridden by
==================  ============================================================  ==============
train               trains on the client's own examples                           every rule
(other phases)      a method of the phase's name, with ``train``'s parameters     FedDM, DANN
<phase>_together    does the same for several clients in the same steps           SGD
reads               settings of stock Flower strategies that the rule heeds       FedProx
fixed_batch_size    the size of its batches, where compiling for one pays         SGD
needs_validation    whether it looks at the client's validation part              SGD
notes               what a user should know before the first round                FedDM
==================  ============================================================  ==============

A rule that protects its own records is a :class:`fedsim.privacy.parameters.PrivateRule`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from fedsim.errors import RunError
from fedsim.task import Task
from fedsim.tasks.classification import Classification
from fedsim.wire import Instruction, Update

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Client", "Examples", "StackedClient", "Unlabelled", "as_client", "client_class"]


@dataclass(frozen=True)
class Examples:
    """A client's own examples, ready for its model."""

    inputs: Tensor
    """Shape ``(n, *features)``, float32, transformed as the scenario says; token ids are int64."""
    labels: Tensor
    """The targets: class numbers ``(n,)``, int64, from 0, or what else the task takes."""
    weights: Tensor | None = None
    """Shape ``(n,)``, float32: how much each example counts; None: all the same."""
    task: Task = field(default_factory=Classification)
    """What there is to learn: it says what the loss is."""
    validation: Examples | None = None
    """The client's validation part, for a rule that :attr:`Client.needs_validation`."""

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Examples:
        """Return the examples on ``device``."""
        weights = None if self.weights is None else self.weights.to(device)
        inputs, labels = self.inputs.to(device), self.labels.to(device)
        return Examples(inputs, labels, weights, self.task, self.validation)

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        """Return the mean loss of ``model`` on the examples at ``rows``: a batch.

        Each counts by its weight: equation 1 of :mod:`fedsim.task`.
        """
        weights = None if self.weights is None else self.weights[rows]
        return self.task.batch_loss(model(self.inputs[rows]), self.labels[rows], weights)

    def loss_sums(self, model: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return numerator and denominator of that loss, which parts of a batch add up."""
        weights = None if self.weights is None else self.weights[rows]
        return self.task.batch_sums(model(self.inputs[rows]), self.labels[rows], weights)


@dataclass(frozen=True)
class Unlabelled:
    """A target client's own examples: whatever trains on them, labels are not to be had."""

    inputs: Tensor
    """Shape ``(n, *features)``, float32, transformed as the scenario says."""

    def __len__(self) -> int:
        return len(self.inputs)

    def to(self, device: torch.device) -> Unlabelled:
        """Return the examples on ``device``."""
        return Unlabelled(self.inputs.to(device))

    @property
    def labels(self) -> NoReturn:
        """Refuse.

        Raises:
            RunError: always.
        """
        raise RunError(
            "a target client's labels never reach training, only evaluation: take a strategy that "
            "adapts (dann, iwdan, ...), or leave the domain out of data.partition.targets"
        )

    def loss(self, model: nn.Module, rows: Tensor) -> Tensor:
        """Refuse, as :attr:`labels` does: a loss is of labels."""
        return self.labels


@dataclass(frozen=True)
class StackedClient:
    """What one client brings to a turn that several take together."""

    examples: Examples
    instruction: Instruction
    generator: torch.Generator


Together = Callable[["nn.Module", Sequence[StackedClient]], list[Update]]
"""From a model and clients that were sent the same to the update of each."""


@dataclass(frozen=True)
class Client:
    """A local update rule; every hook but :meth:`train` has a default."""

    reads: ClassVar[frozenset[str]] = frozenset()
    """The settings of stock Flower strategies that the rule heeds, by Flower's own keys."""
    tasks: ClassVar[tuple[str, ...]] = ()
    """The tasks that the rule is for, such as ``classification``; empty: any."""
    linear_for: ClassVar[str] = ""
    """The algorithm that needs steps linear in the gradient; empty: any optimizer will do."""
    unsupported: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Keys of local training that the rule cannot heed, each with the reason."""
    heeds_weights: ClassVar[bool] = True
    """Whether an example counts by its weight; False: data with weights are refused."""
    unbounded: ClassVar[str] = ""
    """Why one example's share in what the rule sends has no bound, where that is so: a strategy
    that needs the rule is then refused under record-level privacy."""

    def train(
        self,
        model: nn.Module,
        examples: Examples,
        instruction: Instruction,
        generator: torch.Generator,
    ) -> Update:
        """Train ``model`` on the client's own ``examples`` and return how far it moved.

        Args:
            model: holds ``instruction.broadcast.weights`` already, in training mode; it may be
                changed freely.
            examples: this client's training part.
            instruction: what the server asks; ``instruction.memory`` is what this client kept
                last time.
                Where the strategy sends no extras and no settings (as the references do),
                the rule is plain local training.
            generator: the only source of randomness that this client may use in this turn.

        Raises:
            RunError: if the rule has no local training.
        """
        raise RunError(f"{type(self).__name__} has no local training")

    def together(self, phase: str) -> Together | None:
        """Return the method for several clients in the same steps, if the rule has one.

        It is called ``<phase>_together`` and gives each client the update that the phase's own
        method would, up to rounding; all were sent the same broadcast, and the model holds its
        weights.  A class that overrides the phase's method alone has said that the other is not
        its own.
        """
        for cls in type(self).__mro__:
            if f"{phase}_together" in vars(cls):
                verb: Any = getattr(self, f"{phase}_together")
                return verb  # type: ignore[no-any-return]
            if phase in vars(cls):
                return None
        return None

    @property
    def fixed_batch_size(self) -> int | None:
        """The size of the rule's batches, if they have one: such steps are worth compiling."""
        return None

    @property
    def needs_validation(self) -> bool:
        """Whether the rule looks at the client's validation part, on which nothing is trained."""
        return False

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before the first round."""
        return ()

    def rows_are_exact(self, model: nn.Module, shape: Sequence[int], task: Task) -> bool:
        """Return whether here no example moves a bit of another's share, where a bound needs it.

        Args:
            model: of the run.
            shape: of one example.
            task: what is learnt.
        """
        return True


def client_class(cls: type) -> type[Client]:
    """Return ``cls`` as a :class:`Client`: one that is not derived gets the defaults behind it."""
    if issubclass(cls, Client):
        return cls
    return type(cls.__name__, (cls, Client), {"__module__": cls.__module__, "__doc__": cls.__doc__})


def as_client(rule: object) -> Client:
    """Return ``rule`` itself, or a copy of it that has the hooks' defaults too."""
    if isinstance(rule, Client):
        return rule
    adapted = copy.copy(rule)
    object.__setattr__(adapted, "__class__", client_class(type(rule)))
    return adapted  # type: ignore[return-value]
