"""Between the wire's values and Flower's records.

A task's content holds ``arrays`` (the weights), ``extra.NAME`` (further tensors) and ``config``
(the round and the settings); a reply holds ``delta``, ``extra.NAME`` and ``metrics``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from fedsim.flower.arrays import plain_bytes, record_of, weights_of
from fedsim.wire import Broadcast, ClientId, Setting, Update, Weights

__all__ = [
    "DEVICE",
    "Decoder",
    "Encoder",
    "memory_of",
    "memory_records",
    "received",
    "round_of",
    "seconds_of",
    "update_in",
    "update_of",
    "update_records",
]

EXTRA, MEMORY = "extra.", "memory."
ROUND, EXAMPLES = "server-round", "num-examples"  # Flower's own keys
DEVICE = "device"
"""The record of a reply in which a real device says how long its turn took."""


class Encoder:
    """Encodes the broadcasts of one exchange; what two of them share is encoded once."""

    def __init__(self, round: int) -> None:
        self._round = round
        self._records: dict[int, tuple[Weights, ArrayRecord]] = {}
        self._contents: dict[tuple[object, ...], RecordDict] = {}

    def content(self, broadcast: Broadcast) -> RecordDict:
        """Return the content of a message that carries ``broadcast``."""
        key = (
            id(broadcast.weights),
            *((name, id(value)) for name, value in broadcast.extras.items()),
            *broadcast.settings.items(),
        )
        if key not in self._contents:
            records: dict[str, Any] = {"arrays": self._record(broadcast.weights)}
            for name, value in broadcast.extras.items():
                records[EXTRA + name] = self._record(value)
            records["config"] = ConfigRecord({**broadcast.settings, ROUND: self._round})
            self._contents[key] = RecordDict(records)
        return self._contents[key]

    def _record(self, weights: Weights) -> ArrayRecord:
        if id(weights) not in self._records:
            # The weights are kept beside their record: an id is only good while they live.
            self._records[id(weights)] = weights, record_of(weights)
        return self._records[id(weights)][1]


class Decoder:
    """Decodes broadcasts; those of the last few contents are remembered by identity.

    All messages of a round share their content, so a worker decodes a broadcast once a round.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[RecordDict, int, Broadcast]] = {}

    def broadcast(self, content: RecordDict) -> Broadcast:
        """Return the broadcast that a message's content holds."""
        return self.opened(content)[1]

    def opened(self, content: RecordDict) -> tuple[int, Broadcast]:
        """Return the round that a message belongs to, and the broadcast that it carries."""
        if id(content) not in self._seen:
            while len(self._seen) >= 8:
                del self._seen[next(iter(self._seen))]
            self._seen[id(content)] = content, round_of(content), _broadcast(content)
        return self._seen[id(content)][1:]


def _broadcast(content: RecordDict) -> Broadcast:
    settings: dict[str, Setting] = {
        key: value  # type: ignore[misc]  # settings are scalars: no lists, no bytes
        for key, value in content.config_records["config"].items()
        if key != ROUND
    }
    return Broadcast(
        weights_of(content.array_records["arrays"]), _prefixed(content, EXTRA), settings
    )


def round_of(content: RecordDict) -> int:
    """Return the number of the round that a message belongs to."""
    return int(content.config_records["config"][ROUND])  # type: ignore[arg-type]


def update_records(update: Update) -> RecordDict:
    """Return the content of a reply; the client's memory is not in it, for it stays there."""
    records: dict[str, Any] = {"delta": record_of(update.delta)}
    for name, value in update.extras.items():
        records[EXTRA + name] = record_of(value)
    records["metrics"] = MetricRecord({**update.metrics, EXAMPLES: update.examples})
    return RecordDict(records)


def received(update: Update, client: ClientId) -> tuple[Update, int] | None:
    """Return ``update`` as the server would decode it, and its message's size, without either.

    None where the update is not plainly what :func:`update_of` would give: whoever sent it, only
    encoding and decoding can tell what becomes of it.
    """
    metrics = update.metrics
    if type(update.examples) is not int or EXAMPLES in metrics:
        return None
    for name, value in metrics.items():
        if type(name) is not str or type(value) not in (float, int):
            return None
    size = 8 + len(EXAMPLES) + sum(8 + len(name) for name in metrics)
    for weights in (update.delta, *update.extras.values()):
        if (more := plain_bytes(weights)) is None:
            return None
        size += more
    plain = {name: float(value) for name, value in metrics.items()}
    return Update(client, update.delta, update.examples, plain, update.extras), size


def update_of(reply: Message, client: ClientId) -> Update:
    """Return the update that ``client``'s reply carries.

    Raises:
        ValueError: if the reply is not made as :func:`update_records` makes it.
    """
    return update_in(reply.content, client)


def update_in(content: RecordDict, client: ClientId) -> Update:
    """Return the update in a reply's content; see :func:`update_of`."""
    if "delta" not in content.array_records or "metrics" not in content.metric_records:
        raise ValueError(f"a reply with {sorted(content)} where delta and metrics were expected")
    metrics = dict(content.metric_records["metrics"])
    examples = metrics.pop(EXAMPLES, None)
    if not isinstance(examples, int):
        raise ValueError(f"{EXAMPLES} is {examples!r}, not a number of examples")
    plain = {name: float(x) for name, x in metrics.items() if isinstance(x, int | float)}
    delta = weights_of(content.array_records["delta"])
    return Update(client, delta, examples, plain, _prefixed(content, EXTRA))


def seconds_of(content: RecordDict) -> float:
    """Return how long a real device's turn took, as it says; 0 where it says nothing."""
    seconds = content.metric_records.get(DEVICE, MetricRecord()).get("seconds", 0.0)
    return float(seconds) if isinstance(seconds, int | float) and seconds >= 0 else 0.0


def memory_records(memory: Mapping[str, Weights]) -> RecordDict:
    """Return what a client keeps, as the state of its Flower context."""
    return RecordDict({MEMORY + name: record_of(value) for name, value in memory.items()})


def memory_of(state: RecordDict) -> dict[str, Weights]:
    """Return what a client kept in the state of its Flower context."""
    return _prefixed(state, MEMORY)


def _prefixed(records: RecordDict, prefix: str) -> dict[str, Weights]:
    return {
        name.removeprefix(prefix): weights_of(record)
        for name, record in records.array_records.items()
        if name.startswith(prefix)
    }
