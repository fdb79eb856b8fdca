"""When and how a run judges its model: on the server's test set and on the clients' own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fedsim.adapt.scorers import certain, dev
from fedsim.data.federated import FederatedData
from fedsim.engine.transport import Transport
from fedsim.flower.client_app import EVALUATE
from fedsim.models._build import load_weights
from fedsim.runlog.clients import ClientRow
from fedsim.runlog.events import RoundRecord
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Plain, ServerState
from fedsim.wire import Broadcast, ReplyInfo, Weights
from fedsim.worker.score import Score, score

__all__ = ["SELECTED", "SELECTED_ROUND", "Evaluator"]

SELECTED, SELECTED_ROUND, SELECTED_SCORE = "selected", "selected.round", "selected.score"
"""Where the server's state keeps the weights of the best round, which it is, and how good."""


@dataclass(frozen=True)
class Evaluator:
    """Judges the model of a round."""

    scenario: Scenario
    data: FederatedData
    carrier: Transport
    model: nn.Module

    def on_server(self, weights: Weights) -> Score:
        """Return the score on the server's test set."""
        load_weights(self.model, weights)
        return score(self.model, self.data.server_test())

    def by_domain(self, weights: Weights) -> dict[str, float]:
        """Return the accuracy on the server's test examples of each domain that has any."""
        load_weights(self.model, weights)
        parts = {name: self.data.server_test(name) for name in self.data.domain_names}
        return {name: score(self.model, part).accuracy for name, part in parts.items() if len(part)}

    def standing(self, weights: Weights) -> float:
        """Return what ``adapt.select`` makes of the weights: higher is better, no target label."""
        load_weights(self.model, weights)
        targets = [k.id for k in self.data.clients if k.role == "target"]
        sources = [k.id for k in self.data.clients if k.role == "source"]
        judged = [self._told(self.data.train(k).inputs) for k in targets]
        if self.scenario.adapt.select == "entropy":
            return certain(np.concatenate([soft for _, soft in judged]))
        validation = [self.data.part(k, "val") for k in sources]
        inputs, labels = (
            torch.cat([getattr(x, n) for x in validation]) for n in ("inputs", "labels")
        )
        features, soft = self._told(inputs)
        if self.scenario.adapt.select == "source_val":
            return float((soft.argmax(axis=1) == labels.numpy()).mean())
        losses = -np.log(soft[np.arange(len(soft)), labels.numpy()].clip(1e-12))
        learnt = np.concatenate([self._told(self.data.train(k).inputs)[0] for k in sources])
        return dev(
            learnt,
            np.concatenate([target_features for target_features, _ in judged]),
            losses,
            features,
        )

    def _told(self, inputs: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Return features, or logits where the model has none, and predicted probabilities."""
        self.model.eval()
        with torch.no_grad():
            logits = self.model(inputs).double()
            embed = getattr(self.model, "features", self.model)
            return embed(inputs).double().numpy(), logits.softmax(dim=1).numpy()

    def selected(self, before: ServerState, after: ServerState, weights: Weights) -> ServerState:
        """Return ``after`` with what is kept of the best round so far; the first of equals.

        Args:
            before: the state before this round, with the best of the rounds until then.
            after: the state after it.
            weights: what is evaluated of ``after``.
        """
        if self.scenario.adapt.select == "last":
            return after
        score = self.standing(weights)
        best = {name: value.clone() for name, value in weights.items()}
        plain: dict[str, Plain] = {SELECTED_ROUND: after.round, SELECTED_SCORE: score}
        # Not a number for a score never stays: a comparison with it is False.
        if SELECTED in before.memory and before.number(SELECTED_SCORE) >= score:
            best = before.memory[SELECTED]
            plain = {name: before.plain[name] for name in plain}
        return replace(
            after, memory={**after.memory, SELECTED: best}, plain={**after.plain, **plain}
        )

    def complete(
        self, record: RoundRecord, weights: Weights
    ) -> tuple[RoundRecord, list[ClientRow]]:
        """Return ``record`` with what is due this round filled in, and the clients' rows."""
        number, last = record.round, record.round == self.scenario.rounds
        if last or number % self.scenario.evaluation.every == 0:
            judged = self.on_server(weights)
            record = replace(
                record,
                accuracy=judged.accuracy,
                loss=judged.loss,
                domains=self.by_domain(weights),
            )
        every = self.scenario.evaluation.clients
        if not every or not (last or number % every == 0):
            return record, []
        rows, down, up = self._on_clients(number, weights)
        return replace(
            record,
            clients=_summary(rows),
            bytes_down=record.bytes_down + down,
            bytes_up=record.bytes_up + up,
        ), rows

    def _on_clients(self, number: int, weights: Weights) -> tuple[list[ClientRow], int, int]:
        part = self.scenario.evaluation.part
        broadcast = Broadcast(weights, settings={"part": part})
        # What is judged on validation parts may choose a model, and a target's labels may not.
        judged = [
            client for client in self.data.clients if part == "test" or client.role == "source"
        ]
        gathered = self.carrier.exchange(number, EVALUATE, [(info, broadcast) for info in judged])
        down = gathered.bytes_down // len(gathered.turns)
        rows = [self._row(number, turn, down) for turn in gathered.turns if not turn.fault]
        return rows, gathered.bytes_down, gathered.bytes_up

    def _row(self, number: int, turn: ReplyInfo, down: int) -> ClientRow:
        score = Score(turn.examples, int(turn.metrics["correct"]), turn.metrics["loss-sum"])
        return ClientRow(
            round=number,
            client=turn.client,
            domain=self.data.clients[turn.client].domain,
            examples=score.examples,
            accuracy=score.accuracy,
            loss=score.loss,
            seconds=turn.seconds,
            bytes_up=turn.bytes_up,
            bytes_down=down,
        )


def _summary(rows: Sequence[ClientRow]) -> dict[str, float]:
    """Return the clients' accuracies as means; clients without test examples are left out."""
    judged = [row for row in rows if row.examples]
    if not judged:
        return {}
    total = sum(row.examples for row in judged)
    ordered = sorted(row.accuracy for row in judged)
    worst = ordered[: max(1, math.ceil(len(ordered) / 10))]
    return {
        "accuracy": sum(row.accuracy * row.examples for row in judged) / total,
        "accuracy_uniform": sum(ordered) / len(ordered),
        "accuracy_worst_10": sum(worst) / len(worst),
        "examples": float(total),
    }
