"""What crosses between server and clients: frozen values, no behaviour.

Everything a client needs is in its :class:`Instruction`, and everything the server learns is in
the client's :class:`Update`.  Flower messages carry these two and nothing else, which is
why the same scenario gives the same numbers in process, on Ray and on real devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Addend",
    "Broadcast",
    "ClientId",
    "ClientInfo",
    "Instruction",
    "Merged",
    "ReplyInfo",
    "Role",
    "Setting",
    "TraceEntry",
    "Update",
    "Weights",
]

ClientId = int
"""The number of a client's partition, from 0."""

Weights = dict[str, "Tensor"]
"""Named tensors on the CPU, as the floating-point part of ``module.state_dict()``."""

Setting = bool | int | float | str
Role = Literal["source", "target"]


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What a server may know of a client before it asks it anything."""

    id: ClientId
    examples: int
    """How many training examples the client holds."""
    domain: str = ""
    role: Role = "source"
    """A ``target`` client's labels never reach training."""


@dataclass(frozen=True, slots=True)
class Broadcast:
    """What the server sends to a client in one exchange."""

    weights: Weights
    extras: Mapping[str, Weights] = field(default_factory=dict)
    """Further named tensors: control variates, class weights, prototypes."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """Plain values: a proximal term's strength, a schedule's position."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One client's work in one exchange."""

    round: int
    """From 1."""
    phase: str
    """The verb of the local update rule that is asked for: ``train``, or a strategy's own."""
    client: ClientInfo
    broadcast: Broadcast
    memory: Mapping[str, Weights] = field(default_factory=dict)
    """What this client kept from its last turn; empty on its first."""


@dataclass(frozen=True, slots=True)
class Update:
    """What one client gives back."""

    client: ClientId
    delta: Weights
    """How far the weights moved, ``after - before``; empty where the phase moves none."""
    examples: int
    """How many examples the client worked on: examples, never batches."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, Weights] = field(default_factory=dict)
    """Further named tensors: class statistics, moments, synthetic sets."""
    memory: Mapping[str, Weights] = field(default_factory=dict)
    """What the client keeps for its next turn; it never leaves the client."""


@dataclass(frozen=True, slots=True)
class ReplyInfo:
    """What is known of a client's turn besides its tensors."""

    client: ClientId
    examples: int = 0
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    """Wall time on the worker, or on a real device as that says; 0 where nobody knows."""
    bytes_up: int = 0
    fault: str = ""
    """Why the reply was not used; empty where it was."""


@dataclass(frozen=True, slots=True)
class TraceEntry:
    """When and where a simulated client's turn ran."""

    phase: str
    client: ClientId
    worker: int
    """The process's number."""
    start: float
    """In seconds of the clock."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Addend:
    """What one client adds to one of the cohort's sums: ``weight * value``."""

    value: Weights
    weight: float


@dataclass(frozen=True)
class Merged:
    """What a cohort's updates came to."""

    means: Mapping[str, Weights]
    """One weighted mean (float64) per name of the strategy's addends."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """What each mean's weights sum to."""
    clients: tuple[ClientId, ...] = ()
    """Who contributed, in ascending order."""

    @property
    def delta(self) -> Weights:
        """The mean called ``delta``: how far the cohort moved the weights."""
        return self.means["delta"]

    def total(self, name: str) -> Weights:
        """Return the sum itself, ``mean * weight``, in float64."""
        weight = self.weights[name]
        return {key: value * weight for key, value in self.means[name].items()}
