"""The contract of a strategy: a few pure methods, each a line of the papers' pseudo-code.

A strategy is a frozen dataclass.  Its fields are the parameters that a scenario may set; what
changes from round to round lives in the :class:`ServerState` that it is handed and hands back.
To write one, put a file on the shelf ``strategies/`` and override what your paper changes:

==========  =======================================================  ====================
verb        the server...                                            overridden by, e.g.
==========  =======================================================  ====================
begin       makes its first state                                    SCAFFOLD
broadcast   tells a client what it needs                             FedProx, SCAFFOLD
fault       says why a reply cannot be used                          FedDM
addends     says what one client adds to the cohort's sums           FedNova, SCAFFOLD
aggregate   makes one of many, where a sum will not do               medians, FedDM
step        moves the weights                                        FedAdam, FedAvgM
evaluate    says which weights are judged                            (averages of iterates)
pictures    hands out images that a person should look at            FedDM
tables      hands out numbers that a person should look at           domain adaptation
phases      lists the exchanges of a round, by the client's verbs    domain adaptation
participates says whom a phase is for                                domain adaptation
==========  =======================================================  ====================

``addends`` runs where the client ran, so a worker hands back one partial sum for all its
clients; a strategy that overrides ``aggregate`` is handed every update instead, in the order
of the clients' numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from fedsim.aggregate import Sums
from fedsim.errors import RunError
from fedsim.wire import Addend, Broadcast, ClientInfo, Merged, Update, Weights

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

__all__ = [
    "Plain",
    "ReplySpec",
    "Server",
    "ServerState",
    "Strategy",
    "is_sum",
]

Plain = bool | int | float | str | list[Any]


@dataclass(frozen=True)
class ServerState:
    """What the server knows between exchanges; a checkpoint saves it whole."""

    weights: Weights
    population: int
    """How many clients there are in all, whoever takes part."""
    memory: Mapping[str, Weights] = field(default_factory=dict)
    """Momentum, control variates, statistics of the phase before."""
    round: int = 0
    phase: str = "train"
    plain: Mapping[str, Plain] = field(default_factory=dict)
    """Counters, flags, seeds, choices: what JSON can say exactly."""

    def moved(self, delta: Weights, **memory: Weights) -> ServerState:
        """Return the state after the weights moved by ``delta``, with ``memory`` remembered.

        The sum is taken in ``delta``'s precision and then cast to that of the weights.
        """
        weights = {
            name: (tensor + delta[name]).to(tensor.dtype) if name in delta else tensor
            for name, tensor in self.weights.items()
        }
        return replace(self, weights=weights, memory={**self.memory, **memory})

    def number(self, name: str) -> float:
        """Return the number that is remembered under ``name``.

        Raises:
            RunError: if there is none, as in a checkpoint that another strategy wrote.
        """
        value = self.plain.get(name)
        if isinstance(value, int | float):
            return value
        raise RunError(f"the server's state holds no number {name!r}, but {value!r}")

    def noting(self, **plain: Plain) -> ServerState:
        """Return the state with plain values remembered beside those that it had."""
        return replace(self, plain={**self.plain, **plain})


@dataclass(frozen=True)
class Server:
    """What the server has at hand in a step, for strategies that train there."""

    model: nn.Module
    """A model of the scenario's kind, to load weights into and to change freely."""
    generator: torch.Generator
    """The server's own stream of this round and phase."""


@dataclass(frozen=True)
class ReplySpec:
    """What replies are held against, by a strategy that looks closer than the engine does."""

    shape: tuple[int, ...]
    """Of one example."""
    classes: int
    local: Mapping[str, Any]
    """The parameters of the local update rule."""


@dataclass(frozen=True)
class Strategy:
    """FedAvg's verbs, to be overridden one at a time."""

    client: ClassVar[str] = "sgd"
    """The local update rule, as a scenario would name it."""
    deltas: ClassVar[tuple[str, ...]] = ("train",)
    """The phases in which clients send a delta; a reply that lacks it there is refused."""

    def phases(self) -> Sequence[str]:
        """Return the exchanges of one round: names of the local update rule's methods, in order."""
        return ("train",)

    def participates(self, phase: str, client: ClientInfo) -> bool:
        """Return whether ``client`` takes part in ``phase``: targets have no labels to learn."""
        return client.role == "source"

    def begin(self, weights: Weights, clients: Sequence[ClientInfo]) -> ServerState:
        """Return the state before round 1."""
        return ServerState(weights, len(clients))

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Return what ``to`` is sent in phase ``state.phase``.

        The same objects in two broadcasts are encoded and shipped to a worker once, so hand
        out what the state holds rather than copies of it.
        """
        return Broadcast(state.weights)

    def fault(self, update: Update, spec: ReplySpec) -> str:
        """Return why an update cannot be used; empty if it can.

        Asked where :meth:`aggregate` is overridden, of each update that has a delta as it should
        and numbers that are finite; one with a fault is dropped, and the round goes on.
        """
        return ""

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Return what one client adds to the cohort's sums; the means are weighted by it.

        Args:
            update: the client's, checked.
            client: what the server knows of it: its number, role and domain.
        """
        return {"delta": Addend(update.delta, update.examples)}

    def aggregate(self, updates: Sequence[Update]) -> Merged:
        """Return what the cohort's updates come to: the exact means of their addends.

        Overriding this one makes every update travel whole, in ascending order of client.
        """
        sums = Sums()
        for update in updates:
            client = ClientInfo(update.client, update.examples)
            sums.add(update.client, self.addends(update, client))
        return sums.merged()

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Return the state after this phase."""
        return state.moved(merged.delta)

    def evaluate(self, state: ServerState) -> Weights:
        """Return the weights that are judged and kept as the result."""
        return state.weights

    def pictures(self, state: ServerState) -> Mapping[str, Tensor]:
        """Return what is drawn of a round: ``images``, ``labels``, ``client``; or nothing."""
        return {}

    def tables(self, state: ServerState) -> Mapping[str, Weights]:
        """Return numbers of a round that are kept with the run, by name: estimates; or nothing."""
        return {}


def is_sum(strategy: Strategy) -> bool:
    """Return whether partial sums of ``strategy``'s addends may travel in place of updates."""
    return type(strategy).aggregate is Strategy.aggregate
