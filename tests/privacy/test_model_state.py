"""DP-SGD and all that a model may hold: trained with noise, kept at home, or refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fedsim.client import Examples
from fedsim.errors import ScenarioError
from fedsim.per_sample.batches import in_slots
from fedsim.per_sample.clipped_sums import per_example
from fedsim.seeds import seeded_layers, torch_stream
from tests.conftest import Make, Outcome
from tests.models.test_state import HEAD, KINDS

Play = Callable[..., Outcome]
PRIVATE: dict[str, Any] = {
    "rounds": 2,
    "clients": {"count": 3},
    "local": {"use": "dp_sgd", "lr": 0.5, "steps": 5, "sample_rate": 0.2, "batch_size": 16},
    "privacy": {
        "unit": "record", "clip": 1.0, "delta": 1e-4, "noise_multiplier": 0.6, "rng": "simulation",
    },
}  # fmt: skip
TRAINED = (
    "a causal mask of -inf",
    "tied weights",
    "a parameter without dimensions",
    "float64 weights",
    "a frozen body",
)


def own(kind: str, folder: Path) -> str:
    name = "".join(letter for letter in kind if letter.isalpha())
    (folder / f"{name}.py").write_text(HEAD + KINDS[kind])
    return f"./{name}.py:Own"


@pytest.mark.parametrize("kind", TRAINED)
def test_it_trains_and_no_client_is_dropped(
    kind: str, scenario: Make, play: Play, tmp_path: Path
) -> None:
    outcome = play(scenario(**PRIVATE, model=own(kind, tmp_path)))
    assert outcome.result.dropped == 0
    assert outcome.result.metrics["accuracy"] > 0.2


def test_frozen_weights_get_no_noise_and_tied_ones_get_it_once(
    scenario: Make, play: Play, tmp_path: Path
) -> None:
    outcome = play(scenario(**PRIVATE, model=own("a frozen body", tmp_path)))
    assert set(load_file(outcome.folder.path / "model.safetensors")) == {"head.weight", "head.bias"}
    outcome = play(scenario(**PRIVATE, model=own("tied weights", tmp_path)))
    sent = load_file(outcome.folder.path / "model.safetensors")
    assert "back.weight" not in sent
    assert "into.weight" in sent


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("spectral norm", "the buffer layer.parametrizations.weight.0._u moves in training"),
        ("lazy layers", r"BatchNorm1d \(norm\) mixes the examples of a batch"),
        ("a GRU", "cannot take its gradients example by example"),
    ],
)
def test_it_is_refused_by_the_layers_name_before_round_1(
    kind: str, message: str, scenario: Make, play: Play, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=message) as error:
        play(scenario(**PRIVATE, model=own(kind, tmp_path)))
    fault = error.value.faults[0]
    assert fault.key == "model"
    assert fault.hint.startswith("rnn is recurrent") == (kind == "a GRU")


def test_batch_norm_with_frozen_statistics_mixes_nothing(
    scenario: Make, play: Play, tmp_path: Path
) -> None:
    frozen = {"finetune": {"batch_norm": "frozen"}}
    outcome = play(scenario(**PRIVATE, **frozen, model=own("lazy layers", tmp_path)))
    assert outcome.result.dropped == 0
    sent = load_file(outcome.folder.path / "model.safetensors")
    assert not [name for name in sent if "running" in name]


def test_masks_of_dropout_do_not_follow_from_the_scenarios_seed(
    scenario: Make, tmp_path: Path
) -> None:
    """With the seed's masks one record would move the sum by more than its clipped gradient."""
    from fedsim.clients.dp_sgd import DpSgd
    from fedsim.privacy.parameters import PrivacyParameters
    from fedsim.wire import Broadcast, ClientInfo, Instruction

    masks: list[int] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(6, 2)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            masks.append(torch.default_generator.initial_seed())
            logits: torch.Tensor = self.head(inputs)
            return logits

    model = Watched()
    sent = {name: p.detach().clone() for name, p in model.named_parameters()}
    examples = Examples(torch.randn(8, 6), torch.arange(8) % 2)
    instruction = Instruction(1, "train", ClientInfo(0, 8), Broadcast(sent))
    rule = DpSgd(steps=1, sample_rate=1.0, batch_size=4)
    drawn = {}
    for rng in ("simulation", "secure"):
        for turn in range(2):
            masks.clear()
            private = rule.under(PrivacyParameters(1.0, 1.0, rng))
            private.train(model, examples, instruction, torch_stream(1, "client"))
            drawn[rng, turn] = [*masks]
    assert drawn["simulation", 0] == drawn["simulation", 1]
    assert drawn["secure", 0] != drawn["secure", 1]


def test_each_example_draws_a_mask_of_its_own() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(400, 2))
    examples = Examples(torch.ones(5, 400), torch.zeros(5, dtype=torch.int64))
    weights = {name: p.detach() for name, p in model.named_parameters()}
    part, count = next(in_slots(examples))
    with seeded_layers(torch_stream(1, "masks"), torch.device("cpu")):
        gradients = per_example(model)(weights, part.inputs, part.labels)["1.weight"][:count]
    kept = gradients[:, 0] != 0
    assert all(not torch.equal(kept[0], other) for other in kept[1:])
