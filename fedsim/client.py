"""What a client is: verbs from a task to an update.

A client half is a frozen dataclass whose fields a scenario sets under ``local``.  It has one
method per phase of the strategy that it serves; every one takes what :meth:`Client.train`
takes and gives an :class:`~fedsim.wire.Update`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from fedsim.errors import RunError
from fedsim.wire import Instruction, Update

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = ["Client", "Examples", "StackedClient", "Unlabelled", "together"]


@dataclass(frozen=True)
class Examples:
    """A client's own examples, ready for its model."""

    inputs: Tensor
    """Shape ``(n, *features)``, float32, transformed as the scenario says."""
    labels: Tensor
    """Shape ``(n,)``, int64, from 0."""

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True)
class Unlabelled:
    """A target client's own examples: whatever trains on them, labels are not to be had."""

    inputs: Tensor
    """Shape ``(n, *features)``, float32, transformed as the scenario says."""

    def __len__(self) -> int:
        return len(self.inputs)

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


class Client(Protocol):
    """A local update rule.

    One that heeds settings of stock Flower strategies names them in a class variable ``reads``.
    """

    def train(
        self, model: nn.Module, examples: Examples, task: Instruction, draws: torch.Generator
    ) -> Update:
        """Train ``model`` on the client's own ``examples`` and return how far it moved.

        Args:
            model: holds ``task.broadcast.weights`` already, in training mode; free to change.
            examples: this client's training part.
            task: what the server asks; ``task.memory`` is what this client kept last time.
                Where the strategy sends no extras and no settings (as the references do),
                the rule is plain local training.
            draws: the only source of randomness that this client may use in this turn.
        """
        ...


@dataclass(frozen=True)
class StackedClient:
    """What one client brings to a turn that several take together."""

    examples: Examples
    task: Instruction
    draws: torch.Generator


Together = Callable[["nn.Module", Sequence[StackedClient]], list[Update]]


def together(client: Client, phase: str) -> Together | None:
    """Return the client half's verb for several clients in the same steps, if it has one.

    It is called ``<phase>_together`` and gives each seat the update that the verb itself would,
    up to rounding; all seats were sent the same broadcast, and the model holds its weights.  A
    class that overrides the verb alone has said that the other is not its own.
    """
    for cls in type(client).__mro__:
        if f"{phase}_together" in vars(cls):
            verb: Any = getattr(client, f"{phase}_together")
            return verb  # type: ignore[no-any-return]
        if phase in vars(cls):
            return None
    return None
