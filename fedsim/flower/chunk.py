"""A chunk of clients' work for a worker, and the worker's reply."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from fedsim.aggregate import Sums
from fedsim.flower.arrays import bare, dressed
from fedsim.wire import ClientId, ReplyInfo, Update, Weights

__all__ = ["FIRST_NODE", "Chunk", "ChunkReply", "Memory", "node_of"]

Memory = Mapping[str, Weights]

FIRST_NODE = 1_000_000
"""Node ids are client numbers, shifted past Flower's own."""


@dataclass(frozen=True)
class Chunk:
    """Several clients' tasks on their way to one worker."""

    clients: Sequence[ClientId]
    content_of: Sequence[int]
    """Which of the contents, that many of them share, each client is sent."""
    states: Mapping[ClientId, Memory]
    """What each client kept from its last turn."""
    phase: str
    summed: bool
    """Whether a partial sum should come back in place of whole updates."""
    groups: Sequence[int]
    """How many clients, in this order, take each turn together."""
    home: int = 0
    """The worker where these clients' data is warm."""
    cost: float = 0.0
    """What the turns are expected to take, in no particular unit."""
    again: bool = False
    """Whether a worker ended over these groups before."""

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "states": _packed(self.states)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, states=_unpacked(state["states"]))

    def parts(self) -> list[Chunk]:
        """Return what is done after a worker ended over this: each group by itself.

        A group that ends its second worker is taken apart, to find who does it.  Not before: its
        clients' last bits are others one by one, and perhaps none of them did it.
        """
        is_split = self.again and len(self.groups) == 1
        groups = [1] * len(self.clients) if is_split else self.groups
        chunks, first = [], 0
        for size in groups:
            at = slice(first, first + size)
            clients, content_of = self.clients[at], self.content_of[at]
            chunks.append(
                replace(self, clients=clients, content_of=content_of, groups=[size], again=True)
            )
            first += size
        return chunks


@dataclass
class ChunkReply:
    """What one worker made of a chunk."""

    summed: bool = False
    turns: list[ReplyInfo] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    """In the order of the clients; empty where ``sums`` holds their sum."""
    sums: Sums = field(default_factory=Sums)
    states: dict[ClientId, Memory] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    """What a user should know of the worker."""
    worker: int = field(default_factory=os.getpid)
    """The number of the process."""
    begun: float = field(default_factory=time.time)
    """When the first turn began; the others follow one another."""

    def __getstate__(self) -> dict[str, Any]:
        tensors_by_update = {
            at: {"delta": update.delta, **{f"extra.{k}": v for k, v in update.extras.items()}}
            for at, update in enumerate(self.updates)
        }
        plain = [replace(update, delta={}, extras={}) for update in self.updates]
        packed = {
            "updates": plain,
            "tensors": _packed(tensors_by_update),
            "states": _packed(self.states),
        }
        return {**self.__dict__, **packed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        tensors = _unpacked(state.pop("tensors"))
        self.__dict__.update(state, states=_unpacked(state["states"]))
        self.updates = [
            replace(
                update,
                delta=tensors[at].pop("delta"),
                extras={k.removeprefix("extra."): v for k, v in tensors[at].items()},
            )
            for at, update in enumerate(self.updates)
        ]


def _packed(by_client: Mapping[int, Memory]) -> dict[int, Any]:
    return {key: {name: bare(w) for name, w in of.items()} for key, of in by_client.items()}


def _unpacked(by_client: Mapping[int, Any]) -> dict[int, dict[str, Weights]]:
    return {key: {name: dressed(w) for name, w in of.items()} for key, of in by_client.items()}


def node_of(client: ClientId) -> int:
    """Return the Flower node id of a simulated client: the same in every run."""
    return FIRST_NODE + client
