"""Inputs are normalised by the constants that a scenario asks for, and by training parts alone."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedsim.client import Examples
from fedsim.data import store as stores
from fedsim.data.dataset import Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.normalisation import PublicConstants
from fedsim.data.resident import Resident
from fedsim.data.scenario_recipe import recipe_of
from fedsim.errors import DataError, ScenarioError
from fedsim.scenario.load import load

Toy = Callable[..., Dataset]
Partition = Callable[..., FederatedData]

DRAWS = np.random.default_rng(5)
TABLE = np.column_stack(
    [DRAWS.normal(7, 3, 60), DRAWS.integers(2, size=60), np.arange(60) // 15 * 10.0, np.ones(60)]
).astype(np.float32)
SHARES: dict[str, Any] = {"server_test": Fraction(1, 5), "client_val": Fraction(1, 4)}


def train(data: FederatedData, client: int) -> np.ndarray:
    examples = data.train(client)
    assert isinstance(examples, Examples)
    return examples.inputs.numpy()


def test_sums_of_the_clients_are_the_pooled_constants(toy: Toy, partitioned: Partition) -> None:
    pictures = DRAWS.integers(256, size=(60, 3, 4, 4)).astype(np.uint8)
    for number, inputs in enumerate((TABLE, pictures)):
        pooled = partitioned(toy(inputs=inputs), f"pooled{number}", **SHARES)
        summed = partitioned(toy(inputs=inputs), f"sums{number}", normalize="clients", **SHARES)
        for name in ("centre", "spread"):
            assert summed.stored[name] == pytest.approx(pooled.stored[name], rel=1e-6)


def test_each_client_has_constants_of_its_own_and_the_server_those_of_all(
    toy: Toy, partitioned: Partition
) -> None:
    data = partitioned(toy(inputs=TABLE), "each", normalize="each", **SHARES)
    together = partitioned(toy(inputs=TABLE), "clients", normalize="clients", **SHARES)
    for client in range(4):
        inputs = train(data, client)
        assert inputs[:, 0].mean() == pytest.approx(0, abs=1e-6)
        assert inputs[:, 0].std() == pytest.approx(1, abs=1e-6)
        assert set(inputs[:, 1]) <= {0, 1}, "a one-hot is left as it is"
        assert data.part(client, "val").inputs.isfinite().all()
    assert (data.server_test().inputs == together.server_test().inputs).all()
    pooled = data.pooled().inputs.numpy()
    assert (pooled == np.concatenate([train(data, client) for client in range(4)])).all()
    resident = Resident(data, torch.device("cpu"), room=1 << 20)
    for client in range(4):
        assert (resident.train(client).inputs.numpy() == train(data, client)).all()


def test_public_constants_are_taken_as_they_are(toy: Toy, partitioned: Partition) -> None:
    halves = PublicConstants((1.0,), (2.0,))
    data = partitioned(toy(inputs=TABLE), "table", normalize=halves)
    rows = data.stored["origin"]
    parts = np.concatenate([train(data, client) for client in range(4)])
    assert (parts == (TABLE[rows] - 1) / 2).all()
    bytes_ = np.full((60, 1, 2, 2), 255, np.uint8)
    pictures = partitioned(toy(inputs=bytes_), "bytes", normalize=PublicConstants((0.5,), (0.5,)))
    assert (train(pictures, 0) == 1).all()


def test_as_many_constants_are_needed_as_there_are_columns(
    toy: Toy, partitioned: Partition
) -> None:
    wrong = PublicConstants((1.0, 2.0), (1.0,))
    with pytest.raises(DataError, match=r"data.normalize.mean has 2 numbers for 4 channels"):
        partitioned(toy(inputs=TABLE), normalize=wrong)


@pytest.mark.parametrize("how", ["clients", "each"])
def test_rows_that_are_held_out_move_no_constant(
    toy: Toy, partitioned: Partition, how: str
) -> None:
    before = partitioned(toy(inputs=TABLE), "before", normalize=how, **SHARES)
    part = np.repeat(np.arange(12) % 3, np.diff(before.stored["offsets"]))
    trained = before.stored["origin"][part == 0]
    other = np.where(np.isin(np.arange(60), trained)[:, None], TABLE, TABLE + 100)
    after = partitioned(toy(inputs=other), "after", normalize=how, **SHARES)
    for name in ("centre", "spread"):
        assert (after.stored[name] == before.stored[name]).all()


def test_stores_on_another_scale_have_another_key_and_the_same_digest(
    toy: Toy, partitioned: Partition, tmp_path: Path
) -> None:
    # A node of a cluster keeps shipped data by this key: two scales must not be one.
    ways = {"pooled": True, "plain": False, "each": "each", "again": True}
    digests = {
        partitioned(toy(inputs=TABLE), name, normalize=how).digest for name, how in ways.items()
    }
    keys = {name: stores.key(tmp_path / name) for name in ways}
    assert len(digests) == 1
    assert len(set(keys.values())) == 3
    assert keys["again"] == keys["pooled"]


SCENARIO = """\
kind: scenario
rounds: 1
data: {source: digits, normalize: HOW}
model: mlp
clients: {count: 2}
strategy: fedavg
"""


def loaded(folder: Path, how: str) -> Any:
    (folder / "s.yaml").write_text(SCENARIO.replace("HOW", how))
    return recipe_of(load(folder / "s.yaml")).normalize


def test_a_scenario_says_which(tmp_path: Path) -> None:
    assert loaded(tmp_path, "true") is True
    assert loaded(tmp_path, "false") is False
    assert loaded(tmp_path, "each") == "each"
    constants = PublicConstants((0.5,), (0.25,))
    assert loaded(tmp_path, "{mean: [0.5], std: [0.25]}") == constants


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("eech", "true, false, clients, each or a mapping with mean and std is expected"),
        ("{mean: [0.5], std: [0]}", "> 0"),
        ("{mean: [0.5]}", "std: is missing"),
        ("3", "true, false, clients, each or a mapping"),
    ],
)
def test_a_scenario_that_says_it_wrongly_is_told(tmp_path: Path, how: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        loaded(tmp_path, how)
