"""The ClientApp: what runs on a client, simulated or real, as a function of Flower messages."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from fedsim.flower import codec
from fedsim.wire import Broadcast, ClientId, Task, Update
from fedsim.worker import Worker

__all__ = ["CLIENT_KEY", "EVALUATE", "REFERENCE", "make_client_app", "message_type", "phase_of"]

CLIENT_KEY = "partition-id"
"""Where a node's configuration says which client it is: Flower's own key."""

EVALUATE, REFERENCE = "evaluate", "reference"
"""Two phases that every client knows, whatever the strategy."""

Verb = Callable[[int, ClientId, Broadcast, RecordDict], Update]


def message_type(phase: str) -> str:
    """Return the Flower message type that asks a client for ``phase``."""
    return phase if phase in ("train", EVALUATE) else f"query.{phase}"


def phase_of(kind: str) -> str:
    """Return the phase that a Flower message type asks for."""
    return kind.removeprefix("query.")


def make_client_app(worker: Worker, phases: Sequence[str], decoder: codec.Decoder) -> ClientApp:
    """Return the app that answers ``phases``, evaluation and references for any client."""

    def turn(phase: str) -> Verb:
        def run(number: int, client: ClientId, sent: Broadcast, state: RecordDict) -> Update:
            info, memory = worker.data.clients[client], codec.memory_of(state)
            update = worker.turn(Task(number, phase, info, sent, memory))
            state.clear()
            state.update(codec.memory_records(update.memory))
            return update

        return run

    def evaluate(_: int, client: ClientId, sent: Broadcast, state: RecordDict) -> Update:
        result = worker.score(client, sent.weights, str(sent.settings["part"]))
        metrics = {"correct": float(result.correct), "loss-sum": result.loss_sum}
        return Update(client, {}, result.examples, metrics)

    def reference(number: int, _: ClientId, sent: Broadcast, state: RecordDict) -> Update:
        of = int(sent.settings["of"])
        result = worker.reference(of, number)
        metrics = {"accuracy": result.accuracy, "loss": result.loss}
        return Update(of, {}, 0, metrics)

    verbs: dict[str, Verb] = {phase: turn(phase) for phase in phases}
    verbs |= {EVALUATE: evaluate, REFERENCE: reference}
    app = ClientApp()
    for phase, verb in verbs.items():
        _register(app, phase, verb, decoder)
    return app


def _register(app: ClientApp, phase: str, verb: Verb, decoder: codec.Decoder) -> None:
    category, _, action = message_type(phase).partition(".")
    register = {"train": app.train, "evaluate": app.evaluate, "query": app.query}[category]

    def answer(message: Message, context: Context) -> Message:
        content = message.content
        client = int(context.node_config[CLIENT_KEY])
        sent = decoder.broadcast(content)
        update = verb(codec.round_of(content), client, sent, context.state)
        return Message(codec.update_records(update), reply_to=message)

    register(action or "default")(answer)
