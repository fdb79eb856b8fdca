"""A device's own examples become what the scenario's are: same columns, classes and scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from fedsim.data.federated import FederatedData, prepare
from fedsim.edge.device_data import SCENARIO, data_terms, dealt_alone, open_data
from fedsim.errors import DataError
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

TABLE = pd.DataFrame(
    {
        "speed": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "kind": ["old", "new", "new", "old", "worn", "new"],
        "state": ["good", "bad", "good", "bad", "good", "bad"],
    }
)


@pytest.fixture
def table(tmp_path: Path) -> tuple[Scenario, FederatedData]:
    """Return a scenario on a table of six rows for two clients, and its data."""
    TABLE.to_csv(tmp_path / "all.csv", index=False)
    file = tmp_path / "table.yaml"
    told = {
        "rounds": 1,
        "data": {
            "source": {"use": "csv", "path": "all.csv", "label": "state"},
            "holdout": {"server_test": "0%"},
        },
        "model": "mlp",
        "clients": {"count": 2},
        "strategy": "fedavg",
    }
    file.write_text(yaml.safe_dump(told))
    scenario = load(file)
    return scenario, prepare(scenario, tmp_path / "whole")


def opened(path, scenario, data, place, client=1) -> FederatedData:
    return open_data(str(path), scenario, data_terms(scenario, data), client, place)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_gets_the_scenarios_columns_classes_and_scale(kind, table, tmp_path) -> None:
    scenario, data = table
    mine = pd.DataFrame({"state": ["good", "good"], "kind": ["new", "new"], "speed": [2.0, 9.0]})
    path = tmp_path / f"mine.{kind}"
    mine.to_csv(path, index=False) if kind == "csv" else mine.to_parquet(path)
    held = opened(path, scenario, data, tmp_path / "device")
    scale = TABLE["speed"].std(ddof=0)
    assert held.shape == data.shape == (4,)  # the speed, and three kinds
    got = held.train(1)
    assert got.labels.tolist() == [1, 1]  # bad is 0, good is 1, though only good is here
    assert got.inputs[:, 0].tolist() == pytest.approx([(2 - 3.5) / scale, (9 - 3.5) / scale])
    assert got.inputs[:, 1:].tolist() == [[1, 0, 0], [1, 0, 0]]  # new, old, worn
    assert [info.examples for info in held.clients] == [0, 2]


def test_a_rehearsal_deals_what_the_simulation_deals(table, tmp_path) -> None:
    scenario, data = table
    held = opened(SCENARIO, scenario, data, tmp_path / "device")
    assert held.digest == data.digest


def test_own_examples_have_another_mark_than_the_scenarios(table, tmp_path) -> None:
    scenario, data = table
    assert opened(tmp_path / "all.csv", scenario, data, tmp_path / "d").digest != data.digest


def test_prepared_examples_are_kept_until_the_file_changes(table, tmp_path) -> None:
    scenario, data = table
    path, place = tmp_path / "mine.csv", tmp_path / "device"
    TABLE.to_csv(path, index=False)
    assert len(opened(path, scenario, data, place).train(1)) == 6
    assert len(opened(path, scenario, data, place).train(1)) == 6
    assert len(list(place.iterdir())) == 1
    TABLE[:3].to_csv(path, index=False)
    assert len(opened(path, scenario, data, place).train(1)) == 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": None}, "no column 'state'"),
        ({"speed": None}, "no column 'speed'"),
        ({"state": ["good"] * 5 + ["ugly"]}, "the label 'ugly' is not one of bad, good"),
        ({"speed": ["fast"] * 6}, "column 'speed' holds texts"),
        ({"speed": [None, *range(5)]}, "column 'speed' lacks 1 values"),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(change, said, table, tmp_path) -> None:
    scenario, data = table
    mine = TABLE.copy()
    for name, values in change.items():
        mine = mine.drop(columns=name) if values is None else mine.assign(**{name: values})
    mine.to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(DataError, match=said):
        opened(tmp_path / "mine.csv", scenario, data, tmp_path / "device")


def test_arrays_must_have_the_scenarios_shape_and_kind(scenario, tmp_path) -> None:
    of = scenario()
    data = prepare(of, tmp_path / "whole")
    inputs, labels = np.zeros((3, 1, 8, 8), np.float32), np.array([0, 3, 9])
    np.savez(tmp_path / "good.npz", inputs=inputs, labels=labels)
    np.savez(tmp_path / "small.npz", inputs=inputs[:, :, :4], labels=labels)
    np.savez(tmp_path / "class.npz", inputs=inputs, labels=labels + 1)
    assert len(opened(tmp_path / "good.npz", of, data, tmp_path / "d").train(1)) == 3
    with pytest.raises(DataError, match=r"\(1, 4, 8\), where the scenario's is"):
        opened(tmp_path / "small.npz", of, data, tmp_path / "d")
    with pytest.raises(DataError, match="integers from 0 to 9"):
        opened(tmp_path / "class.npz", of, data, tmp_path / "d")


def test_a_file_of_another_kind_is_refused(table, tmp_path) -> None:
    of, data = table
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(DataError, match=r"takes \.npz, \.csv or \.parquet"):
        opened(tmp_path / "mine.txt", of, data, tmp_path / "device")


def test_a_file_that_is_absent_is_named(table, tmp_path) -> None:
    of, data = table
    with pytest.raises(DataError, match=r"absent\.csv: No such file"):
        opened(tmp_path / "absent.csv", of, data, tmp_path / "device")


def test_a_device_can_look_at_its_file_before_any_run(table, tmp_path) -> None:
    dealt = dealt_alone(tmp_path / "all.csv", table[0], 1, 2)
    assert dealt.offsets.tolist() == [0, 0, 0, 0, 6, 6, 6]
