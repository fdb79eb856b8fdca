"""A turn that stops by its validation part is the turn of so many epochs as it kept."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples, StackedClient
from fedsim.clients._stopping import mean_loss
from fedsim.clients.controlled import Controlled
from fedsim.clients.normalized import Normalized
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.engine.run import resume_run
from fedsim.errors import RunError, ScenarioError
from fedsim.messages import ControlVariate, ProximalTerm
from fedsim.optimizers.schedules import Exponential
from fedsim.optimizers.stop_rules import Patience
from fedsim.optimizers.update_rules import SGD
from fedsim.runlog.run_folder import RunFolder
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update, Weights

STOP = {"on": "val", "patience": 2}
DATA = {
    "source": "digits",
    "partition": {"use": "dirichlet", "alpha": 0.5},
    "holdout": {"client_val": "30%"},
}
LOCAL = {"epochs": 12, "batch_size": 8, "lr": 0.5, "stop": STOP}


@pytest.mark.parametrize(
    ("losses", "is_over"),
    [
        ([3.0], False),
        ([3.0, 2.0, 2.5], False),
        ([3.0, 2.0, 2.5, 2.2], True),
        ([3.0, 2.0, 2.5, 1.9], False),
        ([2.0, 2.0, 2.0], True),
        ([math.nan, 2.0, math.nan], False),
        ([math.nan, math.nan, math.nan], True),
    ],
)
def test_patience_counts_epochs_since_the_lowest_loss(losses: list[float], is_over: bool) -> None:
    assert Patience(patience=2).is_over(losses) is is_over


def net(*more: nn.Module) -> nn.Module:
    with torch_defaults(0, "net"):
        return nn.Sequential(nn.Linear(20, 32), nn.ReLU(), *more, nn.Linear(32, 3))


def labelled(count: int, where: int, noise: float = 0.4) -> Examples:
    """Return examples a part of whose labels is wrong, so that more epochs fit them too well."""
    inputs = torch.randn(count, 20, generator=torch_stream(1, "inputs", where))
    labels = inputs[:, :3].argmax(dim=1)
    wrong = torch.rand(count, generator=torch_stream(1, "wrong", where)) < noise
    drawn = torch.randint(3, (count,), generator=torch_stream(1, "labels", where))
    return Examples(inputs, torch.where(wrong, drawn, labels))


TRAINED, VALIDATION = labelled(45, 1), labelled(60, 2)
RULE = Sgd(lr=0.3, epochs=30, batch_size=10)


def extras(rule: Sgd, model: nn.Module) -> Broadcast:
    weights = {name: value.detach().clone() for name, value in model.state_dict().items()}
    if isinstance(rule, Controlled):
        control = {name: torch.full_like(value, 0.01) for name, value in weights.items()}
        return ControlVariate(control).to_broadcast(weights)
    return ProximalTerm(0.1).to_broadcast(weights)


def turn(rule: Sgd, model: nn.Module, validation: Examples | None = VALIDATION) -> Update:
    examples = replace(TRAINED, validation=validation)
    instruction = Instruction(2, "train", ClientInfo(4, 45), extras(rule, model), {})
    return rule.train(model, examples, instruction, torch_stream(1, "client", 2))


def same(first: Weights, second: Weights) -> bool:
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


def best_epoch(rule: Sgd, patience: int) -> int:
    """Return the epoch whose weights should be kept, by training for 1, 2, 3, ... epochs."""
    losses: list[float] = []
    for epochs in range(1, rule.epochs + 1):
        model = net()
        turn(replace(rule, epochs=epochs, stop=None), model)
        losses.append(mean_loss(model, VALIDATION))
        if Patience(patience=patience).is_over(losses):
            break
    return losses.index(min(losses)) + 1


@pytest.mark.parametrize("patience", [1, 3])
@pytest.mark.parametrize(
    "rule",
    [
        RULE,
        replace(RULE, optimizer=SGD(0.2, momentum=0.9), clip=1.0),
        Proximal(lr=0.3, epochs=30, batch_size=10, accumulate=2),
        Normalized(lr=0.3, epochs=30, batch_size=10, momentum=0.5),
        Controlled(lr=0.3, epochs=30, batch_size=10, schedule=Exponential(length=9)),
    ],
    ids=lambda rule: type(rule).__name__,
)
def test_a_turn_gives_what_as_many_epochs_give(rule: Sgd, patience: int) -> None:
    epochs = best_epoch(rule, patience)
    assert 1 <= epochs < 30 - patience, "otherwise nothing stopped"
    stopped = turn(replace(rule, stop=Patience(patience=patience)), net())
    shorter = turn(replace(rule, epochs=epochs), net())
    assert same(dict(stopped.delta), dict(shorter.delta))
    assert stopped.metrics["steps"] == epochs * rule.steps_per_pass(45)
    # FedNova's a_i and SCAFFOLD's control count the steps to the weights that are sent.
    assert stopped.extras.keys() == shorter.extras.keys()
    assert all(same(dict(stopped.extras[k]), dict(shorter.extras[k])) for k in shorter.extras)
    assert all(same(dict(stopped.memory[k]), dict(shorter.memory[k])) for k in shorter.memory)


def test_judging_moves_no_bit_of_training() -> None:
    # Judged on what it learns from, in small steps, it gets better with each epoch.
    rule = replace(RULE, lr=0.01, epochs=6)
    plain = turn(rule, net(nn.BatchNorm1d(32), nn.Dropout(0.2)), None)
    model = net(nn.BatchNorm1d(32), nn.Dropout(0.2))
    judged = turn(replace(rule, stop=Patience(patience=6)), model, TRAINED)
    assert judged.metrics["steps"] == 6 * 5
    assert same(dict(plain.delta), dict(judged.delta))
    assert plain.metrics["loss"] == judged.metrics["loss"]


def test_running_statistics_go_back_with_the_weights() -> None:
    model = net(nn.BatchNorm1d(32))
    turn(replace(RULE, stop=Patience(patience=3)), model)
    kept = mean_loss(model, VALIDATION)
    for epochs in range(1, 12):
        other = net(nn.BatchNorm1d(32))
        turn(replace(RULE, epochs=epochs), other)
        if mean_loss(other, VALIDATION) == kept:
            assert same(dict(model.state_dict()), dict(other.state_dict()))
            return
    pytest.fail("no number of epochs has this loss")


@pytest.mark.parametrize("validation", [None, VALIDATION])
def test_a_client_that_cannot_judge_takes_all_its_epochs(validation: Examples | None) -> None:
    empty = None if validation is None else Examples(torch.zeros(0, 20), torch.zeros(0).long())
    rule = replace(RULE, epochs=4, stop=Patience(patience=1))
    update = turn(rule, net(), empty)
    assert update.metrics["steps"] == 4 * 5
    assert same(dict(update.delta), dict(turn(replace(rule, stop=None), net()).delta))


def test_the_mean_loss_counts_examples_by_their_weights_in_evaluation_mode() -> None:
    model = net(nn.Dropout(0.5))
    many = labelled(1300, 3)
    weights = torch.rand(1300, generator=torch_stream(1, "weights"))
    outputs = model.eval()(many.inputs).detach()
    losses = nn.functional.cross_entropy(outputs, many.labels, reduction="none")
    assert model.train().training
    assert mean_loss(model, many) == pytest.approx(float(losses.mean()), rel=1e-5)
    weighted = float((losses * weights).sum() / weights.sum())
    assert mean_loss(model, replace(many, weights=weights)) == pytest.approx(weighted, rel=1e-5)
    assert model.training


def test_stacked_clients_fall_back_to_one_by_one(scenario, play) -> None:
    member = StackedClient(
        TRAINED, Instruction(1, "train", ClientInfo(0, 45), Broadcast({}), {}), torch_stream(1, "x")
    )
    with pytest.raises(RunError, match="stops by its validation part trains alone"):
        replace(RULE, stop=Patience()).train_together(net(), [member])
    alone = play(scenario(data=DATA, local=LOCAL))
    asked = play(scenario(data=DATA, local=LOCAL, compute={"backend": "local", "cohort": 3}))
    assert asked.result.weights_sha256 == alone.result.weights_sha256
    assert any("one by one: a client that stops" in note for note in asked.notes)


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fednova"])
def test_a_killed_run_resumes_to_the_same_bits(
    strategy, scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(strategy=strategy, data=DATA, local=LOCAL)
    whole = play(of)
    folder = RunFolder.create(tmp_path / "cut")
    run_killed_at(of, folder, 4)
    result = resume_run(folder, lambda _: None)
    assert result.weights_sha256 == whole.result.weights_sha256
    assert result.metrics_sha256 == whole.result.metrics_sha256
    steps = [record.train["steps"] for record in whole.rounds]
    without = {key: value for key, value in LOCAL.items() if key != "stop"}
    longer = play(scenario(strategy=strategy, data=DATA, local=without))
    assert longer.result.weights_sha256 != whole.result.weights_sha256
    assert min(steps) > 0
    assert "steps" not in longer.rounds[0].train


@pytest.mark.ray
def test_two_workers_give_the_bits_of_one(scenario, play, ray_session) -> None:
    sections: dict[str, Any] = {"data": DATA, "local": LOCAL}
    sections["references"] = ["local", "centralized"]
    here = play(scenario(**sections)).result
    there = play(scenario(**sections, compute={"backend": "ray", "workers": 2})).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256
    assert there.references == here.references


def test_a_rule_in_a_file_of_ones_own_ends_turns(scenario, play, tmp_path) -> None:
    (tmp_path / "mine.py").write_text(
        '"""A rule of one\'s own."""\n'
        "from dataclasses import dataclass\n"
        "from fedsim.optimizers.stop_rule import StopRule\n\n\n"
        "@dataclass(frozen=True)\n"
        "class AtOnce(StopRule):\n"
        '    """Ends after the first epoch."""\n\n'
        "    def is_over(self, losses):\n"
        "        return True\n"
    )
    first = play(scenario(data=DATA, local={**LOCAL, "stop": "./mine.py:AtOnce"})).result
    plain = play(scenario(data=DATA, local={**LOCAL, "epochs": 1, "stop": None})).result
    assert first.weights_sha256 == plain.weights_sha256


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"local": {"stop": STOP}}, "local.stop: the clients have no validation parts"),
        ({"data": DATA, "local": {"stop": {"on": "test"}}}, "stop.on: val is expected"),
        (
            {"data": DATA, "local": {"stop": STOP, "optimizer": "adam", "state": "keep"}},
            "goes not with local.stop: what the optimizer remembers is of the last epoch",
        ),
        (
            {
                "data": DATA,
                "local": {"use": "dp_sgd", "stop": STOP},
                "privacy": {"unit": "record", "clip": 1, "noise_multiplier": 1, "delta": 1e-5},
            },
            "does without it: validation examples would be looked at without noise",
        ),
    ],
)
def test_what_cannot_stop_is_a_fault(sections, message, scenario) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(**sections)


def test_a_turn_without_a_rule_asks_for_no_validation_part() -> None:
    assert not RULE.needs_validation
    assert replace(RULE, stop=Patience()).needs_validation
    moved: Tensor = turn(RULE, net()).delta["0.weight"]
    assert torch.equal(moved, turn(RULE, net(), None).delta["0.weight"])
