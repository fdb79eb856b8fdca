"""When and how a run judges its model: on the server's test set and on the clients' own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from fedsim.adapt.scorers import certain, dev
from fedsim.data.federated import FederatedData
from fedsim.engine.best_round import BestRound, better_of, candidate
from fedsim.engine.client_summary import client_summary
from fedsim.engine.due import is_due
from fedsim.engine.transport import Transport
from fedsim.flower.client_app import EVALUATE
from fedsim.flower.exchange import Replies
from fedsim.models._state import load_weights
from fedsim.runlog.clients import ClientRow
from fedsim.runlog.events import RoundRecord
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Plain, ServerState
from fedsim.tasks._measures import Measures
from fedsim.wire import Broadcast, ReplyInfo, Weights
from fedsim.worker.score import ConstantModel, Score, ScoreReply, score

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
    measures: Measures

    def on_server(self, weights: Weights) -> dict[str, float]:
        """Return the metrics on the server's test set."""
        load_weights(self.model, weights)
        return self._values(score(self.model, self.data.server_test(), self.measures))

    def baseline(self) -> dict[str, float] | None:
        """Return the metrics of the task's baseline on the server's test set, if it has one."""
        outputs = self.measures.task.baseline()
        if outputs is None:
            return None
        constant = ConstantModel(outputs)
        return self._values(score(constant, self.data.server_test(), self.measures))

    def by_domain(self, weights: Weights) -> dict[str, float]:
        """Return the primary metric on the server's test examples of each domain with any."""
        load_weights(self.model, weights)
        parts = {name: self.data.server_test(name) for name in self.data.domain_names}
        primary = self.measures.primary.name
        return {
            name: self._values(score(self.model, part, self.measures))[primary]
            for name, part in parts.items()
            if len(part)
        }

    def _values(self, scored: Score) -> dict[str, float]:
        return self.measures.values(scored.arrays, scored.exact)

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

    def best(
        self, best: BestRound | None, record: RoundRecord, weights: Weights, is_end: bool = False
    ) -> BestRound | None:
        """Return the best round until ``record``, where ``evaluation.keep_best`` asks for it.

        The last round, unless its evaluation is due anyway, is a candidate only at the end: so a
        run that is given more rounds has the best of a run that had them from the start.

        Args:
            best: of the rounds before.
            record: of a round, complete.
            weights: what was evaluated of it.
            is_end: whether there is no further round.
        """
        evaluation, metric = self.scenario.evaluation, self.measures.primary
        if not evaluation.keep_best or not (is_end or record.round % evaluation.clients == 0):
            return best
        return better_of(best, candidate(record, weights, metric), metric)

    def complete(
        self, record: RoundRecord, weights: Weights
    ) -> tuple[RoundRecord, list[ClientRow]]:
        """Return ``record`` with what is due this round filled in, and the clients' rows."""
        number, evaluation = record.round, self.scenario.evaluation
        if is_due(number, evaluation.every, self.scenario.rounds):
            record = replace(
                record, metrics=self.on_server(weights), domains=self.by_domain(weights)
            )
        if not is_due(number, evaluation.clients, self.scenario.rounds):
            return record, []
        gathered = self._on_clients(number, weights)
        scores = {update.client: ScoreReply.score_of(update) for update in gathered.updates}
        record = replace(
            record,
            clients=client_summary(list(scores.values()), self.measures),
            bytes_down=record.bytes_down + gathered.bytes_down,
            bytes_up=record.bytes_up + gathered.bytes_up,
        )
        turns = [turn for turn in gathered.turns if not turn.fault]
        return record, [self._row(number, turn, scores[turn.client], gathered) for turn in turns]

    def _on_clients(self, number: int, weights: Weights) -> Replies:
        part = self.scenario.evaluation.part
        broadcast = Broadcast(weights, settings={"part": part})
        # What is judged on validation parts may choose a model, and a target's labels may not.
        judged = [
            client for client in self.data.clients if part == "test" or client.role == "source"
        ]
        return self.carrier.exchange(number, EVALUATE, [(info, broadcast) for info in judged])

    def _row(self, number: int, turn: ReplyInfo, scored: Score, gathered: Replies) -> ClientRow:
        return ClientRow(
            round=number,
            client=turn.client,
            domain=self.data.clients[turn.client].domain,
            examples=scored.examples,
            metrics=self._values(scored),
            seconds=turn.seconds,
            bytes_up=turn.bytes_up,
            bytes_down=gathered.bytes_down // len(gathered.turns),
        )
