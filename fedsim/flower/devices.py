"""Sends requests to a federation's devices over any Flower grid: which node each is, by when.

A message goes to the node that is registered for a client, never to one by its place in a
list.  Whoever has not answered at the deadline is named and the round goes on; an answer that
comes later is never fetched.  A device that was restarted while it was asked has lost the
message, so it is asked the same again: its first answer counts, another has no question left.
One that goes away while it is asked is given some time to come back.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

from fedsim.flower import proof
from fedsim.flower.arrays import settled
from fedsim.flower.client_app import message_type
from fedsim.flower.flwr_internals import NODE_UNAVAILABLE
from fedsim.wire import ClientId

__all__ = ["DEADLINE_S", "Answer", "Devices", "Member", "Members"]

DEADLINE_S = 1800.0
"""How long a device may take where the scenario names no ``clients.deadline_s``."""

_PATIENCE_S = 90.0
"""How long a server waits for devices that are not there: Flower notices after 60 s that one
went without a word, and a restart takes its time."""

_ROOM_S = 600.0
"""What a message's life is longer than its deadline: the clocks of devices are not exact."""

_AWAY = "the device is offline"

Answer = Message | str
"""What came of asking a device: its reply, or why there is none."""


@dataclass(frozen=True)
class Member:
    """One device."""

    name: str
    node: int | None
    """How Flower calls it; None where it never joined, or was revoked."""
    key: proof.PublicKey | None = None
    """What its replies must be signed by; None where no proof is asked."""


@dataclass(frozen=True)
class Members:
    """Who the clients of a run are."""

    run: str
    """Of fedsim's run, which outlives a restart of the server."""
    members: Mapping[ClientId, Member]
    deadline_s: float = DEADLINE_S
    quorum: Callable[[int], int] = field(default=lambda count: 1)
    """How many of so many must be there for it to make sense to ask."""
    poll_s: float = 0.25
    look_s: float = 3.0
    """Between two looks at who went away or was restarted."""
    patience_s: float = _PATIENCE_S


@dataclass
class _PendingRequest:
    """One client's question, under way."""

    client: ClientId
    member: Member
    content: RecordDict
    question: proof.Challenge
    activated: str = ""
    """When its node had last joined, as Flower says it, when it was asked."""
    gone: float | None = None
    """Since when its device, which was there when it was asked, is not there any more."""


class Devices:
    """What stands between a run and the Flower grid that leads to its devices."""

    def __init__(self, grid: Grid, members: Members) -> None:
        self._grid, self._of = grid, members
        self._met = False
        self._counted = (0, 0)
        self.took: dict[ClientId, float] = {}
        """Seconds from the last exchange's beginning until each reply was here."""

    @property
    def names(self) -> Mapping[ClientId, str]:
        """What each device is called."""
        return {client: member.name for client, member in self._of.members.items()}

    def answers(
        self, number: int, phase: str, requests: Sequence[tuple[ClientId, RecordDict]]
    ) -> Iterator[tuple[ClientId, Answer]]:
        """Ask each client for ``phase`` of round ``number``; yield what comes of it, each once."""
        pending, nodes = [], self._present(requests)
        turn = self._exchange_of(number)
        # Flower's network takes its own arrays only; many clients are sent the same.
        plain = {id(content): settled(content) for _, content in requests}
        for client, shared in requests:
            content = plain[id(shared)]
            member = self._of.members.get(client)
            # Told at once: waiting for a device that never joined would cost the whole deadline.
            if member is None or member.node is None:
                yield client, "no device has joined for this client"
                continue
            challenge = proof.Challenge(self._of.run, number, turn, phase, client, proof.nonce())
            challenged = proof.with_challenge(content, challenge)
            pending.append(
                _PendingRequest(client, member, challenged, challenge, nodes.get(member.node, ""))
            )
        yield from self._collected(number, phase, pending)

    def _exchange_of(self, number: int) -> int:
        """Count the exchanges of a round."""
        self._counted = number, self._counted[1] + 1 if self._counted[0] == number else 1
        return self._counted[1]

    def _collected(
        self, number: int, phase: str, pending: list[_PendingRequest]
    ) -> Iterator[tuple[ClientId, Answer]]:
        began, self.took = time.monotonic(), {}
        waiting = self._sent(number, phase, pending)
        open_ = {request.client: request for request in pending}
        for unsent in open_.keys() - {request.client for request in waiting.values()}:
            yield unsent, f"the server knows no node {open_.pop(unsent).member.node}"
        end, look = began + self._of.deadline_s, began + self._of.look_s
        while open_:
            for reply in self._grid.pull_messages(list(waiting)):
                name = reply.metadata.reply_to_message_id
                request = waiting.pop(name) if name in waiting else None
                # A reply from before a restart may still come: it counts if it is the first.
                if request and open_.get(request.client) is request:
                    # Flower reports a device that it lost for a moment; it may yet come back.
                    if request.activated and _is_away(reply):
                        request.gone = time.monotonic()
                        continue
                    del open_[request.client]
                    self.took[request.client] = time.monotonic() - began
                    yield request.client, _checked(reply, request)
            if not open_ or time.monotonic() >= end:
                break
            # Seldom, because each look asks Flower for all nodes.
            if time.monotonic() >= look:
                restarted = self._restarted(open_.values())
                waiting |= self._sent(number, phase, restarted)
                look = time.monotonic() + self._of.look_s
                for client in [
                    request.client for request in open_.values() if self._is_lost(request)
                ]:
                    del open_[client]
                    yield client, _AWAY
            time.sleep(min(self._of.poll_s, max(0.0, end - time.monotonic())))
        for client in open_:
            yield client, f"no reply within {self._of.deadline_s:g} s"

    def _sent(
        self, number: int, phase: str, pending: Sequence[_PendingRequest]
    ) -> dict[str, _PendingRequest]:
        """Send the requests and return them by the ids of their messages, as far as they left."""
        if not pending:
            return {}
        kind, ttl = message_type(phase), self._of.deadline_s + _ROOM_S
        messages = [
            Message(request.content, request.member.node or 0, kind, group_id=str(number), ttl=ttl)
            for request in pending
        ]
        # An id is empty where Flower knows no such node; the order is that of the messages.
        ids = list(self._grid.push_messages(messages))
        return {name: request for name, request in zip(ids, pending, strict=False) if name}

    def _restarted(self, pending: Iterable[_PendingRequest]) -> list[_PendingRequest]:
        """Return the requests whose device has joined anew since it was asked."""
        nodes, restarted = self._online(), []
        for request in pending:
            now = nodes.get(request.member.node or 0, "")
            # A restarted device has forgotten what it was asked, so it is asked again.
            if now and (request.gone is not None or now != request.activated):
                request.activated, request.gone = now, None
                restarted.append(request)
        return restarted

    def _is_lost(self, request: _PendingRequest) -> bool:
        return request.gone is not None and time.monotonic() - request.gone > self._of.patience_s

    def _present(self, requests: Sequence[tuple[ClientId, RecordDict]]) -> dict[int, str]:
        """Wait, but not for ever, until enough devices are there: all of them the first time."""
        members = (self._of.members.get(client) for client, _ in requests)
        # The first time devices are just being switched on; later an absent one is no surprise.
        expected = {member.node for member in members if member and member.node is not None}
        enough = min(len(expected), self._of.quorum(len(requests))) if self._met else len(expected)
        end = time.monotonic() + self._of.patience_s
        while len(expected & (nodes := self._online()).keys()) < enough and time.monotonic() < end:
            time.sleep(self._of.poll_s)
        self._met = True
        return nodes

    def _online(self) -> dict[int, str]:
        """Return the nodes that are there, and when each joined, as far as Flower says."""
        nodes = self._grid.get_nodes()
        return {node.node_id: str(getattr(node, "last_activated_at", "")) for node in nodes}


def _is_away(reply: Message) -> bool:
    return bool(reply.has_error() and reply.error.code == NODE_UNAVAILABLE)


def _checked(reply: Message, request: _PendingRequest) -> Answer:
    if reply.has_error():
        if _is_away(reply):
            return _AWAY
        return reply.error.reason or "an error without a reason"
    if request.member.key is None:
        return reply
    return proof.fault(reply.content, request.question, request.member.key) or reply
