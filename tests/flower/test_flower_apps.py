"""Our apps under Flower's own loop, and Flower's strategies under ours."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp import strategy as stock

from fedsim.data.federated import prepare
from fedsim.engine.result import weights_sha256
from fedsim.engine.run import server_app
from fedsim.errors import ScenarioError
from fedsim.flower import as_flower_strategy
from fedsim.flower.arrays import weights_of as arrays_of
from fedsim.flower.flwr_internals import Run
from fedsim.flower.parts import strategy_of
from fedsim.models._build import build
from fedsim.models._state import weights_of
from fedsim.runlog.run_folder import RunFolder
from fedsim.runtime.local import LocalGrid
from fedsim.strategies.fedmedian import FedMedian
from fedsim.strategy import ReplySpec
from fedsim.wire import Merged, Update

TRAINABLE = [
    "FedAvg",
    "FedAvgM",
    "FedAdam",
    "FedAdagrad",
    "FedYogi",
    "FedMedian",
    "FedTrimmedAvg",
    "Krum",
    "MultiKrum",
]


@pytest.mark.parametrize("name", ["fedavg", "scaffold", "fedmedian", "fedadam"])
def test_ours_in_flowers_loop_equals_our_own_run(name, scenario, play, tmp_path) -> None:
    of = scenario(strategy=name)
    data = prepare(of, tmp_path / "data")
    model = build(of.model, data.shape, data.classes, of.seed, of.folder)
    grid = LocalGrid(of, tmp_path / "data")
    theirs = as_flower_strategy(strategy_of(of), model, seed=of.seed).start(
        grid, ArrayRecord(weights_of(model)), num_rounds=3
    )
    assert weights_sha256(arrays_of(theirs.arrays)) == play(of).result.weights_sha256
    assert set(theirs.train_metrics_clientapp[3]) == {"loss"}


@dataclass(frozen=True)
class Picky(FedMedian):
    """Cannot use what client 0 sends."""

    seen: list[list[int]] = field(default_factory=list)

    def fault(self, update: Update, wanted: ReplySpec) -> str:
        return "no" if update.client == 0 else ""

    def aggregate(self, updates: Sequence[Update]) -> Merged:
        self.seen.append([update.client for update in updates])
        return super().aggregate(updates)


@pytest.mark.parametrize(("is_held", "first"), [(True, 1), (False, 0)])
def test_a_strategys_own_look_at_replies_counts_in_flowers_loop(
    is_held, first, scenario, tmp_path
) -> None:
    of = scenario()
    data = prepare(of, tmp_path / "data")
    model = build(of.model, data.shape, data.classes, of.seed, of.folder)
    strategy, wanted = Picky(), ReplySpec(data.shape, data.classes, {})
    as_flower_strategy(strategy, model, wanted=wanted if is_held else None).start(
        LocalGrid(of, tmp_path / "data"), ArrayRecord(weights_of(model)), num_rounds=1
    )
    assert strategy.seen == [list(range(first, len(data.clients)))]


def test_clients_are_evaluated_in_flowers_loop(scenario, tmp_path) -> None:
    of = scenario(data={"source": "digits", "holdout": {"client_test": "20%"}})
    data = prepare(of, tmp_path / "data")
    model = build(of.model, data.shape, data.classes, of.seed, of.folder)
    ours = as_flower_strategy(strategy_of(of), model, per_round=3)
    result = ours.start(LocalGrid(of, tmp_path / "data"), ArrayRecord(weights_of(model)))
    accuracy = result.evaluate_metrics_clientapp[3]["accuracy"]
    assert isinstance(accuracy, float)
    assert 0.1 < accuracy <= 1


@pytest.mark.parametrize("name", TRAINABLE)
def test_a_stock_strategy_runs_by_its_name(name, scenario, play) -> None:
    outcome = play(scenario(strategy=f"flwr.serverapp.strategy:{name}"))
    assert outcome.result.accuracy > 0.15
    assert outcome.result.dropped == 0


def test_stock_fedavg_is_ours_up_to_rounding(scenario, play) -> None:
    theirs = play(scenario(strategy="flwr.serverapp.strategy:FedAvg"))
    ours = play(scenario())
    for one, other in zip(theirs.rounds, ours.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)


def test_stock_fedprox_and_our_proximal_client_are_our_fedprox(scenario, play) -> None:
    local = {"lr": 0.1, "epochs": 1, "batch_size": 32, "use": "proximal"}
    theirs = play(
        scenario(
            strategy={"use": "flwr.serverapp.strategy:FedProx", "proximal_mu": 0.5}, local=local
        )
    )
    ours = play(scenario(strategy={"use": "fedprox", "mu": 0.5}))
    assert theirs.rounds[-1].loss == pytest.approx(ours.rounds[-1].loss, rel=1e-4)


def test_stock_fedprox_is_refused_with_a_client_that_does_not_hold_back(scenario, play) -> None:
    with pytest.raises(ScenarioError, match="'sgd' does not read proximal-mu"):
        play(scenario(strategy={"use": "flwr.serverapp.strategy:FedProx", "proximal_mu": 0.5}))


def test_stock_trees_are_refused(scenario, play) -> None:
    with pytest.raises(ScenarioError, match="FedXgbBagging trains tree ensembles"):
        play(scenario(strategy="flwr.serverapp.strategy:FedXgbBagging"))


def test_stock_qfedavg_takes_our_loss(scenario, play) -> None:
    use = "flwr.serverapp.strategy:QFedAvg"
    outcome = play(
        scenario(strategy={"use": use, "client_learning_rate": 0.1, "train_loss_key": "loss"})
    )
    assert outcome.result.accuracy > 0.15


def test_stock_bulyan_runs_with_enough_clients(scenario, play) -> None:
    use = {"use": "flwr.serverapp.strategy:Bulyan", "num_malicious_nodes": 0}
    assert play(scenario(strategy=use)).result.dropped == 0


def test_the_list_of_stock_strategies_is_whole() -> None:
    others = {"FedProx", "QFedAvg", "Bulyan", "Strategy", "Result", "FedXgbBagging", "FedXgbCyclic"}
    private = {name for name in stock.__all__ if name.startswith("DifferentialPrivacy")}
    assert set(stock.__all__) == {*TRAINABLE, *others, *private}


class TheirGrid(Grid):
    """Passes every message on to one of ours, and shows nothing else of it."""

    def __init__(self, grid: LocalGrid) -> None:
        self._grid = grid

    def set_run(self, run: Run) -> None:
        self._grid.set_run(run)

    @property
    def run(self) -> Run:
        return self._grid.run

    def create_message(self, *args: Any, **named: Any) -> Message:
        return self._grid.create_message(*args, **named)

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        return self._grid.push_messages(messages)

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        return self._grid.pull_messages(message_ids)

    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return list(self._grid.send_and_receive(messages))[::-1]  # in any order


@pytest.mark.parametrize("name", ["fedavg", "scaffold", "fedmedian"])
def test_the_server_app_on_any_grid_equals_a_run(name, scenario, play, tmp_path) -> None:
    of = scenario(strategy=name)
    whole = play(of).result
    folder = RunFolder.create(tmp_path / "served")
    prepare(of, tmp_path / "data")
    app = server_app(of, folder, lambda event: None)
    context = Context(run_id=1, node_id=1, node_config={}, state=RecordDict(), run_config={})
    app(TheirGrid(LocalGrid(of, tmp_path / "data")), context)
    served = folder.result()
    assert served is not None
    assert served.weights_sha256 == whole.weights_sha256
    assert served.metrics_sha256 == whole.metrics_sha256
