"""What federated learning is compared with: everyone's examples pooled, and each client alone.

Both train with the scenario's own local update rule, model, first weights and number of rounds, and
both are judged on the server's test set.  They are asked for as Flower messages, so they are
spread over the workers like everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedsim.engine.transport import Transport
from fedsim.errors import RunError
from fedsim.flower.client_app import REFERENCE
from fedsim.runlog.events import ReferenceDone
from fedsim.wire import Broadcast, ClientInfo
from fedsim.worker.worker import ORACLE, POOL

__all__ = ["reference"]


def reference(
    name: str, carrier: Transport, clients: Sequence[ClientInfo], rounds: int
) -> ReferenceDone:
    """Return the metrics of ``centralized`` or ``oracle``, or the means over clients of ``local``.

    The mean over clients is uniform: one client, one vote.  A client without examples has no
    model of its own and is left out; so is a target, whose labels ``oracle`` alone trains on.

    Raises:
        RunError: if a client failed.
    """
    nothing = Broadcast({})
    has_targets = any(info.role == "target" for info in clients)
    if name in ("centralized", "oracle"):
        pool, whose_examples = POOL, "all sources'" if has_targets else "all"
        if name == "oracle":
            pool, whose_examples = ORACLE, "all, and the targets' withheld labels on,"
        requests = [(clients[0], Broadcast({}, settings={"of": pool}))]
        detail = f"one model on {whose_examples} examples, {rounds} rounds of local training"
    else:
        requests = [
            (info, Broadcast(nothing.weights, settings={"of": info.id}))
            for info in clients
            if info.examples and info.role == "source"
        ]
        detail = f"mean of {len(requests)} models, each of one client alone for {rounds} rounds"
    turns = carrier.exchange(rounds, REFERENCE, requests).turns
    for turn in turns:
        if turn.fault:
            raise RunError(f"the {name} reference failed: client {turn.client}: {turn.fault}")
    metrics = {
        metric: sum(turn.metrics[metric] for turn in turns) / len(turns)
        for metric in turns[0].metrics
    }
    return ReferenceDone(name, metrics, detail)
