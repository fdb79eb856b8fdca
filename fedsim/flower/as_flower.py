"""Any fedsim strategy as a Flower Strategy, for whoever has a plain Flower ServerApp."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from dataclasses import replace

from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy as FlowerStrategy
from torch import nn

from fedsim.aggregate import mean_metrics
from fedsim.cohort import Uniform
from fedsim.flower.arrays import record_of, weights_of
from fedsim.flower.client_app import EVALUATE
from fedsim.flower.exchange import Exchange
from fedsim.metrics.pooling import pooled
from fedsim.metrics.shelf import values_of
from fedsim.seeds import torch_stream
from fedsim.strategy import ReplySpec, Server, ServerState, Strategy
from fedsim.wire import Broadcast, ClientInfo
from fedsim.worker.score import ScoreReply

__all__ = ["as_flower_strategy"]

UNKNOWN = 2**53
"""How many examples a client may claim, where nothing is known of it beforehand."""


def as_flower_strategy(
    strategy: Strategy,
    model: nn.Module,
    per_round: int | None = None,
    seed: int = 0,
    wanted: ReplySpec | None = None,
) -> FlowerStrategy:
    """Return ``strategy`` for ``start(grid, initial_arrays, ...)`` of a Flower ServerApp.

    The clients must be fedsim's ClientApp, for they answer with deltas.

    Args:
        strategy: one of ours.
        model: a model of the federation's kind, for strategies that train on the server.
        per_round: how many clients take part in a round; None for all.
        seed: of the cohorts and of the server's own draws.
        wanted: what the replies of strategies with an aggregate of their own, such as FedDM, are
            held against; None: those are trusted.
    """
    return _AsFlower(strategy, model, per_round, seed, wanted)


class _AsFlower(FlowerStrategy):
    def __init__(
        self,
        strategy: Strategy,
        model: nn.Module,
        per_round: int | None,
        seed: int,
        wanted: ReplySpec | None,
    ) -> None:
        self._strategy, self._model = strategy, model
        self._per_round, self._seed, self._wanted = per_round, seed, wanted
        self._state: ServerState | None = None
        self._exchange: Exchange | None = None
        self._metrics: dict[str, float] = {}

    def summary(self) -> None:
        """Say nothing beyond what Flower logs of a start."""

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Run all phases of the round but the last, and return the messages of that one."""
        nodes = sorted(grid.get_node_ids())
        clients = [ClientInfo(number, UNKNOWN) for number in range(len(nodes))]
        state = self._state or self._strategy.begin(weights_of(arrays), clients)
        size = len(nodes) if self._per_round is None else self._per_round
        cohort = Uniform().draw(len(nodes), size, server_round, self._seed)
        for phase in self._strategy.phases():
            if self._exchange is not None:
                for reply in grid.send_and_receive(self._exchange.messages):
                    self._exchange.take(reply)
                state = self._step(state)
            state = replace(state, round=server_round, phase=phase)
            self._exchange = Exchange(server_round, phase, self._strategy)
            for k in cohort:
                self._exchange.ask(
                    nodes[k], clients[k], self._strategy.broadcast(state, clients[k])
                )
        self._state = state
        return [] if self._exchange is None else self._exchange.messages

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Take the replies of the last phase; None where no client's could be used."""
        if self._state is None or self._exchange is None:
            return None, None
        for reply in replies:
            self._exchange.take(reply)
        self._state = self._step(self._state)
        metrics = MetricRecord({name: value for name, value in self._metrics.items()})
        return record_of(self._strategy.evaluate(self._state)), metrics

    def _step(self, state: ServerState) -> ServerState:
        if self._exchange is None:
            return state
        gathered = self._exchange.finish().sifted(self._strategy, self._wanted)
        self._exchange = None
        good = [turn for turn in gathered.turns if not turn.fault]
        self._metrics = mean_metrics(good)
        if not good:
            return state
        generator = torch_stream(
            self._seed, "server", state.round, zlib.crc32(state.phase.encode())
        )
        return self._strategy.step(
            state, gathered.merged(self._strategy), Server(self._model, generator)
        )

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every client how good ``arrays`` are on its own test part."""
        broadcast = Broadcast(weights_of(arrays), settings={"part": "test"})
        exchange = Exchange(server_round, EVALUATE, self._strategy)
        for number, node in enumerate(sorted(grid.get_node_ids())):
            exchange.ask(node, ClientInfo(number, UNKNOWN), broadcast)
        self._exchange = exchange
        return exchange.messages

    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """Return the metrics over all the clients' test examples together.

        They are those that the clients' sums tell: accuracy and loss, if their task is
        classification and their scenario asks for no other.
        """
        if self._exchange is None:
            return None
        for reply in replies:
            self._exchange.take(reply)
        gathered, self._exchange = self._exchange.finish(), None
        scores = [ScoreReply.score_of(update) for update in gathered.updates if update.examples]
        values = values_of(pooled([score.arrays for score in scores]))
        return MetricRecord({**values}) if scores else None
