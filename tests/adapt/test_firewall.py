"""A target's labels reach evaluation and nothing else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
import torch

from fedsim.client import Examples, Unlabelled
from fedsim.data.federated import FederatedData, prepare_recipe
from fedsim.data.partitioning import Recipe
from fedsim.data.partitions.domains import Domains
from fedsim.data.sources.digits_domains import DigitsDomains
from fedsim.errors import RunError


@pytest.fixture
def data(tmp_path: Path) -> FederatedData:
    source = DigitsDomains(("plain", "rotated"))
    partition = Domains(clients_per_domain=2, targets=("rotated",))
    recipe = Recipe(source, partition, None, 3, tmp_path, client_test=Fraction(1, 10))
    return prepare_recipe(recipe, tmp_path / "store")


def test_a_target_s_training_examples_have_no_labels_to_give(data: FederatedData) -> None:
    for held in (data.train(2), data.part(3, "train")):
        assert isinstance(held, Unlabelled)
        assert [name for name in vars(held)] == ["inputs"]
        with pytest.raises(RunError, match="labels never reach training"):
            _ = held.labels


def test_sources_and_evaluation_have_theirs(data: FederatedData) -> None:
    assert isinstance(data.train(0), Examples)
    assert len(data.part(2, "test").labels) == len(data.part(2, "test").inputs) > 0
    assert len(data.server_test("rotated").labels) > 0


def test_what_is_pooled_is_the_sources_alone_unless_an_oracle_asks(data: FederatedData) -> None:
    sources = [data.train(0), data.train(1)]
    assert torch.equal(data.pooled().inputs, torch.cat([held.inputs for held in sources]))
    everyone = data.pooled(targets=True)
    assert len(everyone) == sum(info.examples for info in data.clients)


def test_a_strategy_that_does_not_adapt_leaves_targets_alone(two_domains, play) -> None:
    run = play(two_domains(rounds=1, references=["centralized", "local", "oracle"]))
    assert run.result.dropped == 0
    assert set(run.result.domains) == {"plain", "rotated"}
    assert run.rounds[-1].domains == run.result.domains
    assert set(run.result.references) == {"centralized", "local", "oracle"}


def test_a_half_that_needs_labels_fails_on_a_target(two_domains, play) -> None:
    asks_all = f"{Path(__file__).parent / 'asks_all.py'}:AsksAll"
    dropped = play(two_domains(strategy=asks_all, rounds=1)).rounds[0].dropped
    assert [drop.client for drop in dropped] == [2, 3]
    assert all("labels never reach training" in drop.reason for drop in dropped)
