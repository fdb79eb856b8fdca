"""A model that cannot be trained here is refused before round 1, with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.errors import ScenarioError
from fedsim.models._check import check_model
from fedsim.task import TargetSpec
from fedsim.tasks.classification import Classification

FIVE = Classification(targets=TargetSpec(classes=5))


class Own(nn.Module):
    """Flattens, and has one layer; a case changes what it says."""

    def __init__(self, change: Callable[[Any], object] = lambda _: None) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 5)
        change(self)

    def forward(self, inputs: Tensor) -> Any:
        return self.layer(inputs.flatten(1).to(self.layer.weight.dtype))


class WithState(Own):
    def get_extra_state(self) -> object:
        return {"steps": 1}

    def set_extra_state(self, state: object) -> None:
        pass


class Pair(Own):
    def forward(self, inputs: Tensor) -> Any:
        return super().forward(inputs), inputs


def complex_weight(model: Any) -> None:
    model.turn = nn.Parameter(torch.zeros(3, dtype=torch.complex64))


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "bfloat16": (Own(lambda m: m.layer.bfloat16()), "layer.weight is bfloat16"),
    "complex": (Own(complex_weight), "turn is complex64"),
    "extra state": (WithState(), "WithState has an extra state"),
    "too few outputs": (Own(lambda m: setattr(m, "layer", nn.Linear(12, 3))), "wants (2, 5)"),
    "another input": (Own(lambda m: setattr(m, "layer", nn.Linear(9, 5))), "shape (3, 4)"),
    "two tensors": (Pair(), "returns a tuple"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_refused_with_the_reason(case: str) -> None:
    model, words = REFUSED[case]
    with pytest.raises(ScenarioError) as error:
        check_model(model, (3, 4), False, FIVE)
    assert words in str(error.value)


def test_what_fits_passes_and_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 5)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    check_model(model, (3, 4), False, FIVE)
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    check_model(Own(lambda m: m.layer.double()), (3, 4), False, FIVE)


KINDS = """
import torch
from torch import nn


class Lazy(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.LazyLinear(classes)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1))


class Recurrent(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.gru, self.lstm = nn.GRU(8, 32, batch_first=True), nn.LSTM(32, 32, batch_first=True)
        self.head = nn.Linear(32, classes)

    def forward(self, inputs):
        return self.head(self.lstm(self.gru(inputs[:, 0])[0])[0][:, -1])


class Tied(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        self.second.weight = self.first.weight
        self.head = nn.Linear(64, classes)

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs.flatten(1))))


class Scalar(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer, self.scale = nn.Linear(64, classes), nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs):
        return self.layer(inputs.flatten(1)) * self.scale


class Double(nn.Module):
    def __init__(self, shape, classes):
        super().__init__()
        self.layer = nn.Linear(64, classes).double()

    def forward(self, inputs):
        return self.layer(inputs.flatten(1).double())
"""


@pytest.mark.parametrize("name", ["Lazy", "Recurrent", "Tied", "Scalar", "Double"])
def test_unusual_models_train(name: str, scenario, play, tmp_path) -> None:
    (tmp_path / "own.py").write_text(KINDS)
    result = play(
        scenario(model=f"./own.py:{name}", rounds=4, local={"lr": 0.3, "epochs": 5})
    ).result
    assert result.accuracy > 0.15


WRONG_KINDS = {
    "model: ./own.py:Nothing": (2, "Nothing is no torch.nn.Module"),
    "data: {source: ./own.py:Nothing}": (2, "Nothing has no method load"),
    "data: {source: ./own.py:Pair}": (3, "Pair.load returned a tuple"),
}

NOTHING = """
class Nothing:
    def __init__(self, shape=None, classes=None):
        pass


class Pair:
    def load(self, seed, folder):
        return ([[0.0]], [0])
"""


@pytest.mark.parametrize("line", WRONG_KINDS)
def test_a_plug_in_of_another_kind_is_one_clear_fault(line: str, tmp_path, capsys) -> None:
    from fedsim.cli.app import main

    code, words = WRONG_KINDS[line]
    (tmp_path / "own.py").write_text(NOTHING)
    sections = {"data": "data: {source: digits}", "model": "model: mlp"}
    sections[line.partition(":")[0]] = line
    text = "\n".join(["rounds: 1", "clients: {count: 2}", "strategy: fedavg", *sections.values()])
    (tmp_path / "s.yaml").write_text(text)
    run = ["run", str(tmp_path / "s.yaml"), "--run-dir", str(tmp_path / "run"), "-q"]
    assert main(run) == code
    err = capsys.readouterr().err
    assert words in err
    assert "should not happen" not in err
