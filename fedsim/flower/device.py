"""The ClientApp on a device: what stands around the same answers as in a simulation.

Around every answer, from the outside in: an error becomes a reply that names the line, the
reply is signed where the server asks for it, a turn is ended when its time is up, and what the
client keeps comes from a file and goes back to it, since a SuperNode forgets it when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flwr.app import Context, Error, Message, MetricRecord
from flwr.clientapp import ClientApp

from fedsim.flower import codec, proof
from fedsim.flower.arrays import settled
from fedsim.flower.client_app import make_client_app
from fedsim.flower.parts import strategy_of
from fedsim.schema.scenario import Scenario
from fedsim.wire import Weights
from fedsim.worker.exception_text import describe_exception
from fedsim.worker.time_limit import OutOfTime, time_limit
from fedsim.worker.worker import Worker

__all__ = ["ClientApp", "Config", "Device", "Memories", "make_device_app"]

_FAILED = 2
"""Flower's code for an exception in a ClientApp."""

Config = Mapping[str, Any]
"""Of a node, as it was started: which client it is, where its data and its key are."""

Next = Callable[[Message, Context], Message]


class Memories(Protocol):
    """Where a client's memory outlives the processes of its device."""

    def before(self, round: int, turn: int) -> Mapping[str, Weights]:
        """Return what the client kept before this turn, also where the turn is done again."""
        ...

    def after(self, round: int, turn: int, memory: Mapping[str, Weights]) -> None:
        """Keep what the client keeps after this turn."""
        ...


class Device(Protocol):
    """What a device has of its own."""

    def worker(self, config: Config) -> Worker:
        """Return what takes the turns."""
        ...

    def memories(self, config: Config) -> Memories:
        """Return where the client's memory is."""
        ...

    def key(self, config: Config) -> proof.PrivateKey | None:
        """Return what replies are signed by; None where the device has no key."""
        ...


def make_device_app(scenario: Scenario, device: Device) -> ClientApp:
    """Return the app that runs ``scenario`` on a device."""

    def around(message: Message, context: Context, following: Next) -> Message:
        try:
            question = proof.challenge_of(message.content)
            key = device.key(context.node_config)
            began = time.perf_counter()
            with time_limit(scenario.clients.deadline_s):
                memories = device.memories(context.node_config)
                turn = (question.round, question.turn) if question else (0, 0)
                reply = _remembering(message, context, following, (memories, *turn))
        except (Exception, OutOfTime, SystemExit) as error:
            return Message(Error(_FAILED, describe_exception(error)), reply_to=message)
        reply.content = settled(reply.content)  # Flower's network takes its own arrays only
        reply.content[codec.DEVICE] = MetricRecord({"seconds": time.perf_counter() - began})
        if question and key:
            proof.prove(reply.content, question, key)
        return reply

    phases = strategy_of(scenario).phases()
    return make_client_app(lambda at: device.worker(at.node_config), phases, [around])


def _remembering(
    message: Message, context: Context, following: Next, turn: tuple[Memories, int, int]
) -> Message:
    """Answer with the memory of the turns before this one, and keep the memory after it."""
    memories, round, number = turn
    context.state.clear()
    context.state.update(codec.memory_records(memories.before(round, number)))
    reply = following(message, context)
    memories.after(round, number, codec.memory_of(context.state))
    context.state.clear()
    return reply
