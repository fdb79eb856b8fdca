"""Replies of clients: opened, and checked against the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict

from fedsim.flower import codec
from fedsim.flower.arrays import count_bytes
from fedsim.flower.client_app import DESCRIBE, EVALUATE, REFERENCE
from fedsim.privacy.private_strategy import PrivateStrategy
from fedsim.strategy import Strategy
from fedsim.wire import Addend, ClientInfo, ReplyInfo, Setting, Update, Weights
from fedsim.worker.validate import fault_of

__all__ = ["Asked", "read", "taken"]


@dataclass(frozen=True)
class Asked:
    """What a client was asked, as far as its reply is held against it."""

    phase: str
    weights: Weights
    strategy: Strategy
    settings: Mapping[str, Setting] = field(default_factory=dict)
    summed: bool = False
    """Whether the reply is put to a sum where it was made."""

    def addends(self, update: Update, client: ClientInfo) -> Mapping[str, Addend]:
        """Return what an update adds to the sums; clipped to what was asked, under privacy."""
        if isinstance(self.strategy, PrivateStrategy):
            return self.strategy.clipped(update, self.settings)
        return self.strategy.addends(update, client)

    def fault(self, update: Update, client: ClientInfo) -> str:
        """Return what is wrong with an update; empty if nothing is."""
        if self.phase in (EVALUATE, REFERENCE, DESCRIBE):
            return ""
        wants_delta = self.phase in self.strategy.deltas
        return fault_of(update, client, self.weights, wants_delta, self._sums_deltas) or ""

    @property
    def _sums_deltas(self) -> bool:
        """Whether the sum takes the delta as it is, and so looks at each of its numbers."""
        is_own = type(self.strategy).addends is not Strategy.addends
        return self.summed and not is_own and not isinstance(self.strategy, PrivateStrategy)


Read = tuple[Update | None, ReplyInfo]


def read(reply: Message, client: ClientInfo, request: Asked) -> Read:
    """Return the update that a reply carries, or None and, in the turn, what is wrong with it."""
    if reply.has_error():
        return None, ReplyInfo(client.id, fault=reply.error.reason or "an error without a reason")
    return _opened(reply.content, client, request)


def taken(update: Update, client: ClientInfo, request: Asked, seconds: float = 0.0) -> Read:
    """Return what :func:`read` would of a reply with ``update``, mostly without making one."""
    if (received := codec.received(update, client.id)) is None:
        return _opened(codec.update_records(update), client, request, seconds)
    plain, size = received
    fault = request.fault(plain, client)
    turn = ReplyInfo(client.id, plain.examples, plain.metrics, seconds, size, fault)
    return (None if fault else plain), turn


def _opened(content: RecordDict, client: ClientInfo, request: Asked, seconds: float = 0.0) -> Read:
    size = count_bytes(content)
    try:
        update = codec.update_in(content, client.id)
    except Exception as error:  # any malformed content: the client's fault, never the run's end
        fault = f"unreadable reply: {error}"
        return None, ReplyInfo(client.id, seconds=seconds, bytes_up=size, fault=fault)
    fault = request.fault(update, client)
    turn = ReplyInfo(client.id, update.examples, update.metrics, seconds, size, fault)
    return (None if fault else update), turn
