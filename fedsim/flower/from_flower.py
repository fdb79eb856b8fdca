"""Adapts a stock Flower strategy, so that a scenario can name any of them.

fedsim draws the cohort and carries the messages; the stock strategy says what the clients are
told (``configure_train``) and what their models come to (``aggregate_train``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedsim.errors import RunError
from fedsim.flower.arrays import record_of, weights_of
from fedsim.flower.codec import EXAMPLES, ROUND
from fedsim.flower.flwr_internals import Run, empty_run
from fedsim.strategy import Server, ServerState, Strategy
from fedsim.wire import Broadcast, ClientInfo, Merged, Setting, Update

__all__ = ["FromFlower"]

FLOWER = "flower."


@dataclass(frozen=True)
class FromFlower(Strategy):
    """Wraps ``rule``.

    A stock strategy keeps its momentum in itself.  Here that is copied into the server's state
    after each round and put back before the next, so that a checkpoint holds it and a resumed
    run goes on bit by bit.
    """

    rule: FlowerStrategy
    _sent: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def sends(self) -> frozenset[str]:
        """The settings that a local update rule must read for the rule to be what its name says."""
        return frozenset({"proximal-mu"} if hasattr(self.rule, "proximal_mu") else ())

    def broadcast(self, state: ServerState, to: ClientInfo) -> Broadcast:
        """Send the arrays and the settings that ``configure_train`` makes, once a round."""
        if self._sent.get("round") != state.round:
            _restore(self.rule, state.memory)
            self._sent.update(round=state.round, broadcast=self._configured(state))
        broadcast: Broadcast = self._sent["broadcast"]
        return broadcast

    def _configured(self, state: ServerState) -> Broadcast:
        arrays, config = record_of(state.weights), ConfigRecord()
        messages = list(
            self.rule.configure_train(state.round, arrays, config, _ReplayGrid(self.rule))
        )
        if not messages:
            raise RunError(f"{type(self.rule).__name__} asks no client to train")
        content = messages[0].content
        settings: dict[str, Setting] = {}
        for record in content.config_records.values():
            for key, value in record.items():
                if key != ROUND and isinstance(value, bool | int | float | str):
                    settings[key] = value
        arrays_sent = next(iter(content.array_records.values()))
        return Broadcast(weights_of(arrays_sent), settings=settings)

    def aggregate(self, updates: Sequence[Update]) -> Merged:
        """Hand the clients' models to ``aggregate_train``, in ascending order of client."""
        weights = self._sent["broadcast"].weights
        replies = [self._reply(update, weights) for update in updates]
        arrays, _ = self.rule.aggregate_train(self._sent["round"], replies)
        if arrays is None:
            raise RunError(f"{type(self.rule).__name__} gave no model from {len(updates)} replies")
        # Aggregated lists of arrays may have lost their names: the order is the same.
        values = weights_of(arrays).values()
        return Merged({"arrays": dict(zip(weights, values, strict=True))})

    @staticmethod
    def _reply(update: Update, weights: Mapping[str, torch.Tensor]) -> Message:
        model = {name: tensor + update.delta[name] for name, tensor in weights.items()}
        metrics = MetricRecord({**update.metrics, EXAMPLES: update.examples})
        content = RecordDict({"arrays": record_of(model), "metrics": metrics})
        return Message(content, dst_node_id=1, message_type="train")

    def step(self, state: ServerState, merged: Merged, server: Server) -> ServerState:
        """Take over the model that the stock strategy made."""
        delta = {
            name: merged.means["arrays"][name].double() - tensor.double()
            for name, tensor in state.weights.items()
        }
        return state.moved(delta, **_snapshot(self.rule))


def _snapshot(rule: FlowerStrategy) -> dict[str, dict[str, torch.Tensor]]:
    """Return the attributes of ``rule`` that hold arrays: what it remembers between rounds."""
    arrays: dict[str, dict[str, torch.Tensor]] = {}
    for name, value in vars(rule).items():
        if isinstance(value, ArrayRecord):
            arrays[f"{FLOWER}record.{name}"] = weights_of(value)
        elif isinstance(value, dict) and value and _arrays(value.values()):
            arrays[f"{FLOWER}dict.{name}"] = _tensors(value)
        elif isinstance(value, list) and value and _arrays(value):
            arrays[f"{FLOWER}list.{name}"] = _tensors(dict(enumerate(value)))
    return arrays


def _restore(rule: FlowerStrategy, memory: Mapping[str, Mapping[str, torch.Tensor]]) -> None:
    for key, value in memory.items():
        _, kind, name = key.split(".", 2)
        if kind == "record":
            setattr(rule, name, record_of(dict(value)))
        elif kind == "dict":
            setattr(rule, name, {k: v.numpy() for k, v in value.items()})
        else:
            setattr(rule, name, [v.numpy() for v in value.values()])


def _tensors(arrays: Mapping[Any, Any]) -> dict[str, torch.Tensor]:
    return {str(name): torch.from_numpy(np.array(value)) for name, value in arrays.items()}


def _arrays(values: Any) -> bool:
    return all(isinstance(value, np.ndarray | np.generic) for value in values)


class _ReplayGrid(Grid):
    """A grid of as many nodes as a stock strategy wants to see before it samples."""

    def __init__(self, rule: FlowerStrategy) -> None:
        minima = (getattr(rule, "min_train_nodes", 1), getattr(rule, "min_available_nodes", 1))
        self._nodes = range(max(1, *minima))

    def get_node_ids(self) -> list[int]:
        return list(self._nodes)

    def set_run(self, run: Run) -> None: ...

    @property
    def run(self) -> Run:
        return empty_run(0)

    def create_message(self, *_: Any, **__: Any) -> Message:
        raise NotImplementedError

    def push_messages(self, messages: Any) -> list[str]:
        raise NotImplementedError

    def pull_messages(self, message_ids: Any) -> list[Message]:
        raise NotImplementedError

    def send_and_receive(self, messages: Any, *, timeout: float | None = None) -> list[Message]:
        raise NotImplementedError
