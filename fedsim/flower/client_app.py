"""The ClientApp: what runs on a client, simulated or real, as a function of Flower messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from fedsim.flower import codec
from fedsim.wire import Broadcast, ClientId, Instruction, Update, Weights
from fedsim.worker.score import ScoreReply
from fedsim.worker.worker import Worker

__all__ = [
    "CLIENT_KEY",
    "DESCRIBE",
    "EVALUATE",
    "REFERENCE",
    "Mod",
    "Verb",
    "make_client_app",
    "mark_of",
    "message_type",
    "phase_of",
    "verbs_of",
]

CLIENT_KEY = "partition-id"
"""Where a node's configuration says which client it is: Flower's own key."""

EVALUATE, REFERENCE, DESCRIBE = "evaluate", "reference", "describe"
"""Phases that every client knows, whatever the strategy."""

Memory = Mapping[str, Weights]

Mod = Callable[[Message, Context, Callable[[Message, Context], Message]], Message]
"""What stands around an answer: Flower's form."""

Verb = Callable[[int, ClientId, Broadcast, Memory], Update]
"""What a client does when it is asked: a function of the round's number, who it is, what it was
sent, and what it kept."""


def message_type(phase: str) -> str:
    """Return the Flower message type that asks a client for ``phase``."""
    return phase if phase in ("train", EVALUATE) else f"query.{phase}"


def phase_of(kind: str) -> str:
    """Return the phase that a Flower message type asks for."""
    return kind.removeprefix("query.")


def verbs_of(worker: Worker, phases: Sequence[str]) -> dict[str, Verb]:
    """Return what any client does in each of ``phases``, in evaluation and for references.

    Our own hosts call these, and so does the ClientApp of a device: it adds but the messages.
    """

    def turn(phase: str) -> Verb:
        def run(number: int, client: ClientId, broadcast: Broadcast, memory: Memory) -> Update:
            return worker.turn(
                Instruction(number, phase, worker.data.clients[client], broadcast, memory)
            )

        return run

    def evaluate(_: int, client: ClientId, broadcast: Broadcast, memory: Memory) -> Update:
        result = worker.score(client, broadcast.weights, str(broadcast.settings["part"]))
        extras = ScoreReply.of(result).to_extras()
        return Update(client, {}, result.examples, result.exact, extras, memory)

    def reference(number: int, _: ClientId, broadcast: Broadcast, memory: Memory) -> Update:
        of = int(broadcast.settings["of"])
        result = worker.reference(of, number)
        metrics = worker.measures.values(result.arrays, result.exact)
        return Update(of, {}, 0, metrics, memory=memory)

    def describe(_: int, client: ClientId, broadcast: Broadcast, memory: Memory) -> Update:
        # What it was sent goes back, so that a line's speed can be measured.
        metrics, back = {"data": mark_of(worker.data.digest)}, dict(broadcast.extras)
        return Update(client, {}, worker.data.clients[client].examples, metrics, back, memory)

    verbs: dict[str, Verb] = {phase: turn(phase) for phase in phases}
    return verbs | {EVALUATE: evaluate, REFERENCE: reference, DESCRIBE: describe}


def mark_of(digest: str) -> float:
    """Return the first 48 bits of a hash as a number, which a metric can carry exactly."""
    return float(int(digest[:12], 16))


def make_client_app(
    worker: Callable[[Context], Worker], phases: Sequence[str], mods: Sequence[Mod] = ()
) -> ClientApp:
    """Return the app that answers ``phases``, evaluation, references and what a client is.

    Args:
        worker: makes what the answers come from, when the first is asked for.
        phases: the strategy's.
        mods: what each message and its answer go through, Flower's way.
    """
    app, decoder = ClientApp(mods=list(mods)), codec.Decoder()
    for phase in dict.fromkeys((*phases, EVALUATE, REFERENCE, DESCRIBE)):

        def answer(message: Message, context: Context, phase: str = phase) -> Message:
            verb = verbs_of(worker(context), phases)[phase]
            client = int(context.node_config[CLIENT_KEY])
            number, broadcast = decoder.opened(message.content)
            update = verb(number, client, broadcast, codec.memory_of(context.state))
            content, state = codec.update_records(update), codec.memory_records(update.memory)
            context.state.clear()
            context.state.update(state)
            return Message(content, reply_to=message)

        _register(app, phase, answer)
    return app


def _register(app: ClientApp, phase: str, answer: Callable[[Message, Context], Message]) -> None:
    category, _, action = message_type(phase).partition(".")
    register = {"train": app.train, "evaluate": app.evaluate, "query": app.query}[category]
    register(action or "default")(answer)
