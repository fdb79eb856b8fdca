"""Models of other libraries: by name, offline, refused with what to install."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from fedsim.errors import MissingPackage, ScenarioError
from fedsim.models._scenario_model import scenario_model
from tests.conftest import Make, Outcome

LIBRARIES = {"torchvision": "torchvision:resnet18", "timm": "timm:resnet10t"}
RGB = """
from dataclasses import dataclass

import numpy as np

from fedsim.data.dataset import Dataset


@dataclass(frozen=True)
class Rgb:
    def load(self, seed, folder):
        rng = np.random.default_rng(0)
        inputs = rng.random((60, 3, 32, 32), dtype=np.float32)
        labels = np.arange(60) % 10
        return Dataset(inputs, labels, None, None, 10)
"""


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed")


@pytest.mark.parametrize("name", LIBRARIES)
def test_a_short_name_is_the_library_and_the_architecture(name: str, scenario: Make) -> None:
    model = scenario(model=LIBRARIES[name]).model
    assert model.use == name
    assert model.parameters["architecture"] == LIBRARIES[name].partition(":")[2]
    long = {"use": name, "architecture": model.parameters["architecture"]}
    assert scenario(model=long).model == model


def test_a_folder_of_transformers_starts_beside_the_file(scenario: Make, tmp_path: Path) -> None:
    assert scenario(model="hf:./gpt").model.parameters["path"] == str(tmp_path / "gpt")


@pytest.mark.parametrize("name", ["torchvision", "timm", "transformers"])
def test_a_library_that_is_not_there_is_named_with_what_to_do(name: str, scenario: Make) -> None:
    if find_spec(name) is not None:
        pytest.skip(f"{name} is installed")
    use = {**LIBRARIES, "transformers": "hf:./gpt"}[name]
    with pytest.raises(MissingPackage, match=f"pip install {name}"):
        scenario_model(scenario(model=use), (3, 32, 32), 10)


@pytest.mark.parametrize("name", [pytest.param(n, marks=needs(n)) for n in LIBRARIES])
def test_a_model_of_theirs_trains(
    name: str, scenario: Make, play: Callable[..., Outcome], tmp_path: Path
) -> None:
    (tmp_path / "rgb.py").write_text(RGB)
    data = {"source": "./rgb.py:Rgb"}
    outcome = play(scenario(model=LIBRARIES[name], data=data, clients={"count": 2}, rounds=1))
    assert outcome.result.dropped == 0


@pytest.mark.parametrize("name", [pytest.param(n, marks=needs(n)) for n in LIBRARIES])
def test_a_name_that_they_do_not_have_is_a_fault(name: str, scenario: Make) -> None:
    with pytest.raises(ScenarioError, match="resnet_none"):
        scenario_model(scenario(model=f"{name}:resnet_none"), (3, 32, 32), 10)


@needs("transformers")
def test_a_language_model_gives_logits_at_every_place(scenario: Make, tmp_path: Path) -> None:
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16}
    theirs = GPT2LMHeadModel(GPT2Config(vocab_size=11, **sizes))
    theirs.save_pretrained(tmp_path / "gpt")
    model = scenario_model(scenario(model="hf:./gpt"), (8,), 11).eval()
    tokens = torch.arange(8)[None]
    assert torch.equal(model(tokens), theirs.eval()(tokens).logits)
    with pytest.raises(ScenarioError, match="it has 11 tokens, and the data 12"):
        scenario_model(scenario(model="hf:./gpt"), (8,), 12)
