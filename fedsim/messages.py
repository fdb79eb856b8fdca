"""Typed messages between a strategy and its clients, defined once for both sides.

A message is a frozen dataclass in a file that strategy and client both import.  It crosses as the
settings and extras of a :class:`~fedsim.wire.Broadcast`, or as the extras of an
:class:`~fedsim.wire.Update`: plain values are settings, named tensors are extras, and None does
not travel.  A field ``trade_off`` is called ``trade-off`` on the way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fedsim.errors import RunError
from fedsim.wire import Broadcast, Setting, Update, Weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "REQUIRED",
    "ControlVariate",
    "EffectiveSteps",
    "LowRankResidual",
    "Message",
    "ProximalTerm",
    "TensorRecord",
]

REQUIRED = {"required": True}
"""Metadata of a field that must have come, although who writes the message may leave it out."""


@dataclass(frozen=True)
class Message:
    """What one side says; a field with a default may be missing when the message is read."""

    def to_settings(self) -> dict[str, Setting]:
        """Return the plain values, by the names that they travel under."""
        return {key: value for key, value in self._entries() if not isinstance(value, dict)}

    def to_extras(self) -> dict[str, Weights]:
        """Return the named tensors, the very objects, by the names that they travel under."""
        return {key: value for key, value in self._entries() if isinstance(value, dict)}

    def to_broadcast(self, weights: Weights) -> Broadcast:
        """Return the message beside the model's ``weights``."""
        return Broadcast(weights, self.to_extras(), self.to_settings())

    @classmethod
    def from_broadcast(cls, broadcast: Broadcast) -> Self:
        """Return what the server said; what it said besides is left alone.

        Raises:
            RunError: if it left out what has no default.
        """
        values, absent = cls._read({**broadcast.settings, **broadcast.extras})
        if absent:
            raise RunError(
                f"the server sent no {absent!r}: this local update rule is for another strategy"
            )
        return cls(**values)

    @classmethod
    def is_in(cls, message: Broadcast | Update) -> bool:
        """Return whether the other side said this: the references and other rules do not."""
        settings = message.settings if isinstance(message, Broadcast) else {}
        return not cls._read({**settings, **message.extras})[1]

    @classmethod
    def from_update(cls, update: Update, sender: str) -> Self:
        """Return what a client said.

        Args:
            update: the client's.
            sender: the local update rule that sends such messages.

        Raises:
            RunError: if it left out what has no default.
        """
        values, absent = cls._read(update.extras)
        if absent:
            raise RunError(
                f"client {update.client} sent no {absent!r}: set `local: {{use: {sender}}}`, "
                f"or a local update rule that extends it"
            )
        return cls(**values)

    @classmethod
    def _read(cls, entries: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Return the fields that are in ``entries``, and the first that is missing there."""
        keys = {field.name: _key(field.name) for field in fields(cls)}
        values = {name: entries[key] for name, key in keys.items() if key in entries}
        absent = [
            keys[field.name]
            for field in fields(cls)
            if field.name not in values and _is_required(field)
        ]
        return values, absent[0] if absent else ""

    def _entries(self) -> Iterator[tuple[str, Any]]:
        for field in fields(self):
            if (value := getattr(self, field.name)) is not None:
                yield _key(field.name), value


def _key(name: str) -> str:
    return name.replace("_", "-")


def _is_required(field: Field[Any]) -> bool:
    has_default = field.default is not MISSING or field.default_factory is not MISSING
    return not has_default or bool(field.metadata)


@dataclass(frozen=True)
class TensorRecord:
    """A few tensors that travel together as one extra; None does not travel."""

    KEYS: ClassVar[Mapping[str, str]] = {}
    """The names that fields travel under, where these are not their own."""

    def to_weights(self) -> Weights:
        """Return the tensors by the names that they travel under."""
        return {
            self.KEYS.get(name, name): value
            for name, value in vars(self).items()
            if value is not None
        }

    @classmethod
    def from_weights(cls, weights: Mapping[str, Tensor]) -> Self:
        """Return the record that came as ``weights``.

        Raises:
            RunError: if a tensor without a default is missing.
        """
        keys = {field.name: cls.KEYS.get(field.name, field.name) for field in fields(cls)}
        values = {name: weights[key] for name, key in keys.items() if key in weights}
        for field in fields(cls):
            if field.name not in values and field.default is MISSING:
                raise RunError(f"{cls.__name__} came without {keys[field.name]!r}")
        return cls(**values)

    def __add__(self, other: Self) -> Self:
        """Return the sums of the tensors, field by field."""
        theirs = vars(other)
        return type(self)(**{name: value + theirs[name] for name, value in vars(self).items()})


@dataclass(frozen=True)
class ProximalTerm(Message):
    """From FedProx to its clients, under Flower's own name, so that its FedProx is heard too."""

    proximal_mu: float = 0.0
    """How strongly a client is held near the weights that it was sent; 0 holds nothing."""


@dataclass(frozen=True)
class ControlVariate(Message):
    """Between SCAFFOLD and its clients: ``c`` on the way down, ``c_i+ - c_i`` on the way up."""

    control: Weights


@dataclass(frozen=True)
class LowRankResidual(Message):
    """From the server to whoever holds the model: what low-rank adapters' means have missed."""

    low_rank_residual: Weights
    """By the names of the model's state."""


@dataclass(frozen=True)
class EffectiveSteps(Message):
    """From a client to FedNova."""

    steps: Weights
    """How many plain steps the update is worth, ``a_i``: a number, by the name of this field."""

    @classmethod
    def of(cls, count: Tensor) -> Self:
        """Return the message that says ``count``, a float64 number."""
        return cls({"steps": count})

    @property
    def count(self) -> Tensor:
        """The number itself."""
        return self.steps["steps"]
