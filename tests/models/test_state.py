"""What of a model is exchanged: trained parameters and moving buffers, each once."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fedsim.engine.estimate import estimate
from fedsim.errors import ScenarioError
from fedsim.models._buffers import constant_buffers
from fedsim.models._state import (
    described_state,
    inventory,
    load_weights,
    mark_exchanged,
    weights_of,
)
from tests.conftest import Make, Outcome

HEAD = """
import math

import torch
from torch import nn


class Own(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.make(classes)

    def forward(self, x):
        return self.of(x.reshape(-1, 8, 8))

"""
KINDS = {
    "a causal mask of -inf": """
    def make(self, classes):
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(64, classes)
        mask = torch.full((8, 8), -math.inf).triu(1)
        self.register_buffer("mask", mask)

    def of(self, x):
        seen, _ = self.attention(x, x, x, attn_mask=self.mask, need_weights=False)
        return self.head(seen.flatten(1))
""",
    "a GRU": """
    def make(self, classes):
        self.rnn, self.head = nn.GRU(8, 12, batch_first=True), nn.Linear(12, classes)

    def of(self, x):
        return self.head(self.rnn(x)[0][:, -1])
""",
    "an LSTM": """
    def make(self, classes):
        self.rnn, self.head = nn.LSTM(8, 12, batch_first=True), nn.Linear(12, classes)

    def of(self, x):
        return self.head(self.rnn(x)[0][:, -1])
""",
    "lazy layers": """
    def make(self, classes):
        self.norm, self.head = nn.LazyBatchNorm1d(), nn.LazyLinear(classes)

    def of(self, x):
        return self.head(self.norm(x.flatten(1)))
""",
    "tied weights": """
    def make(self, classes):
        self.into, self.back = nn.Linear(64, 64), nn.Linear(64, 64)
        self.back.weight = self.into.weight
        self.head = nn.Linear(64, classes)

    def of(self, x):
        return self.head(self.back(self.into(x.flatten(1)).relu()))
""",
    "a parameter without dimensions": """
    def make(self, classes):
        self.scale, self.head = nn.Parameter(torch.tensor(1.0)), nn.Linear(64, classes)

    def of(self, x):
        return self.scale * self.head(x.flatten(1))
""",
    "float64 weights": """
    def make(self, classes):
        self.head = nn.Linear(64, classes).double()

    def of(self, x):
        return self.head(x.flatten(1).double())
""",
    "spectral norm": """
    def make(self, classes):
        layer = nn.Linear(64, 16)
        self.layer = torch.nn.utils.parametrizations.spectral_norm(layer)
        self.head = nn.Linear(16, classes)

    def of(self, x):
        return self.head(self.layer(x.flatten(1)).relu())
""",
    "a frozen body": """
    def make(self, classes):
        self.body, self.head = nn.Linear(64, 16), nn.Linear(16, classes)
        self.body.requires_grad_(False)

    def of(self, x):
        return self.head(self.body(x.flatten(1)).relu())
""",
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_trains_and_no_client_is_dropped(
    kind: str, scenario: Make, play: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(HEAD + KINDS[kind].replace("\n    def of", "\n\n    def of"))
    small = scenario(model="./own.py:Own", rounds=2, local={"lr": 0.2, "epochs": 2})
    plan = estimate(small)
    finished = play(small)
    assert finished.result.dropped == 0
    assert all(math.isfinite(record.metrics["loss"]) for record in finished.rounds)
    assert finished.result.metrics["accuracy"] > 0.15
    assert "trained parameters" in plan.state


def test_a_run_sends_tied_weights_once_and_frozen_ones_never(
    scenario: Make, tmp_path: Path
) -> None:
    for kind, exchanged in (("tied weights", 64 * 64 + 2 * 64 + 650), ("a frozen body", 170)):
        (tmp_path / f"{exchanged}.py").write_text(HEAD + KINDS[kind])
        plan = estimate(scenario(model=f"./{exchanged}.py:Own", rounds=1))
        assert plan.parameters == exchanged
        headers = 6 * 8192  # of six clients' messages
        assert plan.bytes_up - 6 * 4 * exchanged < headers


def test_the_extra_state_of_a_layer_is_refused_by_its_name(scenario: Make, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        HEAD
        + KINDS["a GRU"]
        + """
    def get_extra_state(self):
        return {"steps": 1}

    def set_extra_state(self, state):
        pass
"""
    )
    with pytest.raises(ScenarioError, match="Own has an extra state"):
        estimate(scenario(model="./own.py:Own", rounds=1))


class Everything(nn.Module):
    """Has a name of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen = nn.Linear(4, 4)
        self.frozen.requires_grad_(False)
        self.norm = nn.BatchNorm1d(4)
        self.tied = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.tied.weight
        self.register_buffer("mask", torch.ones(4))
        self.passes: Tensor
        self.register_buffer("passes", torch.zeros(()))
        self.register_buffer("far", torch.tensor([-math.inf, 0.0]))

    def forward(self, inputs: Tensor) -> Tensor:
        if self.training:
            self.passes += 1
        hidden: Tensor = self.second(self.tied(self.norm(self.frozen(inputs))))
        return hidden


def test_every_name_of_a_model_has_its_kind() -> None:
    model = Everything()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    mark_exchanged(model, constant_buffers(model, (4,)))
    kinds = {entry.name: entry.kind for entry in inventory(model)}
    assert kinds == {
        "mask": "constant",
        "passes": "buffer",
        "far": "constant",
        "frozen.weight": "frozen",
        "frozen.bias": "frozen",
        "norm.weight": "trained",
        "norm.bias": "trained",
        "norm.running_mean": "buffer",
        "norm.running_var": "buffer",
        "norm.num_batches_tracked": "counter",
        "tied.weight": "trained",
        "second.weight": "tied",
    }
    assert described_state(model) == (
        "24 trained parameters; 20 frozen, never sent; 9 numbers of buffers, averaged; "
        "6 numbers of constant buffers, never sent; second.weight is tied.weight, sent once"
    )
    assert all(torch.equal(before[n], v) for n, v in model.state_dict().items())


def test_what_is_exchanged_stays_the_same_when_somebody_freezes_a_layer_later() -> None:
    model = Everything()
    mark_exchanged(model)
    first = weights_of(model)
    model.requires_grad_(False)
    assert weights_of(model).keys() == first.keys()
    load_weights(model, {name: value + 1 for name, value in first.items()})
    assert torch.equal(model.tied.weight, first["tied.weight"] + 1)
    assert model.second.weight is model.tied.weight


def test_a_buffer_that_moves_only_now_and_then_is_not_lost_in_silence(
    scenario: Make, play: Callable[..., Outcome], tmp_path: Path
) -> None:
    own = KINDS["a frozen body"].replace(
        "        self.body, self.head",
        '        self.register_buffer("late", torch.zeros(2))\n        self.calls = 0\n'
        "        self.body, self.head",
    )
    own = own.replace(
        "        return self.head(",
        "        self.calls += 1\n        if self.calls > 5:\n            self.late += 1\n"
        "        return self.head(",
    )
    (tmp_path / "own.py").write_text(HEAD + own)
    with pytest.raises(Exception, match="late moved, but not in the trial pass"):
        play(scenario(model="./own.py:Own", rounds=1))
