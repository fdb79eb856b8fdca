"""Whole runs with optimisers, schedules and state that clients keep."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.engine.run import resume_run
from fedsim.errors import ScenarioError
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.scenario.yaml_file import dump

KEPT = {
    "optimizer": {"use": "adam", "lr": 0.01},
    "state": "keep",
    "schedule": {"use": "cosine", "over": "both", "warmup": 1},
    "clip": 1.0,
    "accumulate": 2,
    "batch_size": 8,
}


def test_a_run_with_kept_state_killed_anywhere_resumes_to_the_same_end(
    scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(local=KEPT)
    whole = play(of).result
    afresh = play(scenario(local={**KEPT, "state": "reset"})).result
    assert whole.weights_sha256 != afresh.weights_sha256
    for number in (2, 3):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        resumed = resume_run(folder, lambda event: None)
        assert resumed.weights_sha256 == whole.weights_sha256
        assert resumed.metrics_sha256 == whole.metrics_sha256


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_kept_state_is_the_same_with_any_workers(scenario, play) -> None:
    here = play(scenario(local=KEPT)).result
    for workers in (1, 2):
        compute = {"backend": "ray", "workers": workers}
        there = play(scenario(local=KEPT, compute=compute)).result
        assert there.weights_sha256 == here.weights_sha256


@pytest.mark.parametrize(
    "local",
    [
        {"optimizer": "adamw"},
        {"optimizer": {"use": "sgd", "momentum": 0.9, "nesterov": True}, "clip": 0.5},
        {"lr": 0.1, "schedule": {"use": "linear", "warmup": 1}, "drop_last": True},
        {"optimizer": "adagrad", "accumulate": 2, "batch_size": 8},
    ],
    ids=str,
)
@pytest.mark.parametrize("strategy", ["fedavg", "fedprox"])
def test_a_stack_is_the_loop_up_to_rounding(local, strategy, scenario, play) -> None:
    of = {"strategy": strategy, "local": local}
    alone = play(scenario(**of))
    stacked = play(scenario(compute={"backend": "local", "cohort": 4}, **of))
    assert stacked.notes == []
    for one, other in zip(alone.rounds, stacked.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)


@pytest.mark.parametrize(
    ("local", "why"),
    [
        ({"optimizer": "torch:NAdam"}, "TorchOptimizer steps one client at a time"),
        (KEPT, "a client that keeps its optimizer's state trains alone"),
    ],
    ids=["torch", "kept"],
)
def test_what_cannot_be_stacked_goes_one_by_one_and_says_so(local, why, scenario, play) -> None:
    stacked = play(scenario(local=local, compute={"backend": "local", "cohort": 4}))
    assert any(why in note for note in stacked.notes), stacked.notes
    alone = play(scenario(local=local))
    assert stacked.result.weights_sha256 == alone.result.weights_sha256


@pytest.mark.parametrize("strategy", ["scaffold", "fednova", "fedprox", "dann"])
def test_strategies_compose_with_momentum_and_a_schedule(strategy, scenario, play) -> None:
    momentum = {"use": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True}
    local = {"optimizer": momentum, "schedule": {"use": "cosine", "over": "both"}}
    domains = {
        "source": {"use": "digits_domains", "domains": ["plain", "blurred"]},
        "partition": {"use": "domains", "targets": ["blurred"]},
    }
    of = {"data": domains, "clients": {}} if strategy == "dann" else {}
    outcome = play(scenario(strategy=strategy, local=local, **of))
    assert outcome.result.dropped == 0
    assert outcome.rounds[-1].loss < outcome.rounds[0].loss


def test_what_torch_refuses_is_said_at_the_optimizer_before_round_1(scenario, play) -> None:
    of = scenario(local={"optimizer": {"use": "torch:SGD", "lr": 0.1, "momentum": -1.0}})
    with pytest.raises(ScenarioError, match="Invalid momentum value") as caught:
        play(of)
    assert [fault.key for fault in caught.value.faults] == ["local.optimizer"]


MINE = """
from dataclasses import dataclass
from typing import ClassVar

from fedsim.optimizers.optimizer import Optimizer


@dataclass(frozen=True)
class SignSgd(Optimizer):
    \"\"\"Steps along the signs of gradients.\"\"\"

    strength: float = 1.0

    def step(self, weights, gradients, slots, lr, number):
        for name, gradient in gradients.items():
            weights[name].sub_(gradient.sign(), alpha=lr * self.strength)
"""


def test_an_optimizer_of_one_s_own_is_one_file(scenario, play, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    local = {"optimizer": {"use": "./mine.py:SignSgd", "lr": 0.005}}
    outcome = play(scenario(local=local, compute={"backend": "local", "cohort": 4}))
    assert outcome.notes == []
    assert outcome.rounds[-1].accuracy > outcome.rounds[0].accuracy


BASE = """\
rounds: 7
data: {source: digits}
model: mlp
clients: {count: 10}
strategy: fedavg
"""


def test_nothing_is_implicit_in_a_resolved_scenario(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(BASE + "local: {optimizer: adam, schedule: {use: cosine, warmup: 2}}\n")
    resolved = load(file)
    parameters = resolved.local.parameters
    assert parameters["optimizer"] == {
        "use": "adam", "lr": 0.001, "betas": [0.9, 0.999], "eps": 1e-8, "weight_decay": 0.0,
    }  # fmt: skip
    assert parameters["schedule"] == {
        "use": "cosine", "over": "rounds", "warmup": 2, "length": 7, "floor": 0.0,
    }  # fmt: skip
    assert not {"lr", "momentum", "weight_decay"} & parameters.keys()
    (tmp_path / "b.yaml").write_text(dump(resolved.resolved()))
    assert load(tmp_path / "b.yaml") == resolved


def test_an_optimizer_takes_the_place_of_what_a_parent_says_of_sgd(tmp_path: Path) -> None:
    parent, child = tmp_path / "parent.yaml", tmp_path / "child.yaml"
    parent.write_text(BASE + "local: {lr: 0.5, momentum: 0.9, epochs: 3, optimizer: null}\n")
    child.write_text("extends: parent.yaml\nlocal: {optimizer: {use: rmsprop, alpha: 0.9}}\n")
    parameters = load(child).local.parameters
    assert parameters["epochs"] == 3
    assert parameters["optimizer"]["lr"] == 0.01
    changed = load(child, ["local.optimizer.lr=0.2"]).local.parameters["optimizer"]
    assert (changed["use"], changed["lr"], changed["alpha"]) == ("rmsprop", 0.2, 0.9)
    other = load(child, ["local.optimizer={use: adam}"]).local.parameters["optimizer"]
    assert "alpha" not in other
    named = tmp_path / "named.yaml"
    named.write_text(BASE + "local: {optimizer: adamw}\n")
    assert load(named, ["local.optimizer.lr=0.2"]).local.parameters["optimizer"]["lr"] == 0.2
