"""What ``fedsim edge join --check`` finds: one line for each thing that is wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from fedsim.edge import inspect as looking
from fedsim.edge.bundle import Bundle
from fedsim.edge.inspect import inspect
from fedsim.edge.layout import FederationPlan, make_federation
from fedsim.edge.reach import Registration
from fedsim.errors import FedsimError
from tests.edge.conftest import free_ports


@pytest.fixture
def bundle(federate) -> Bundle:
    return Bundle.load(federate().path / "bundles" / "b")


def found(bundle: Bundle, data: str) -> dict[str, tuple[bool, str]]:
    return {one.what: (one.is_well, one.text) for one in inspect(bundle, data)}


def test_a_server_that_is_down_is_one_line_and_the_rest_is_looked_at(bundle) -> None:
    told = found(bundle, "scenario")
    is_well, text = told["server"]
    assert not is_well
    assert "connection refused" in text
    assert "certificate" not in told
    assert told["versions"][0]
    assert told["data"][0]


def test_a_rehearsal_counts_rows_and_classes_and_times_an_epoch(bundle) -> None:
    _, text = found(bundle, "scenario")["data"]
    assert "10 of 10 classes" in text
    assert "one epoch" in text
    assert "MB at most" in text


def test_own_examples_are_counted(bundle, tmp_path) -> None:
    inputs, labels = np.zeros((20, 1, 8, 8), np.float32), np.arange(20) % 10
    np.savez(tmp_path / "mine.npz", inputs=inputs, labels=labels)
    is_well, text = found(bundle, str(tmp_path / "mine.npz"))["data"]
    assert is_well
    assert text.startswith("20 rows to train on, 10 of 10 classes")


def test_a_label_column_that_is_absent_is_named(tmp_path) -> None:
    pd.DataFrame({"x": [1.0, 2.0], "y": [0, 1]}).to_csv(tmp_path / "all.csv", index=False)
    pd.DataFrame({"x": [1.0, 2.0]}).to_csv(tmp_path / "mine.csv", index=False)
    told = {
        "rounds": 1,
        "data": {"source": {"use": "csv", "path": "all.csv", "label": "y"}},
        "model": "mlp",
        "strategy": "fedavg",
    }
    (tmp_path / "table.yaml").write_text(yaml.safe_dump(told))
    port, control = free_ports(2)
    plan = FederationPlan(tmp_path / "table.yaml", ("a",), "127.0.0.1", port, control)
    made = make_federation(plan, tmp_path / "fed")
    mine = found(Bundle.load(made.path / "bundles" / "a"), str(tmp_path / "mine.csv"))
    assert mine["data"] == (False, f"{tmp_path / 'mine.csv'}: no column 'y'; there are x")


def test_another_version_is_named_with_what_to_do(bundle) -> None:
    other = replace(bundle, versions={**bundle.versions, "flwr": "1.30.0"})
    is_well, text = found(other, "scenario")["versions"]
    assert not is_well
    assert text.startswith("flwr is 1.4")
    assert "1.30.0 there: pip install -r requirements.txt" in text


@pytest.mark.parametrize(("skew", "said"), [(600.0, "600 s ahead of"), (-600.0, "600 s behind")])
def test_a_clock_that_is_off_is_named(skew, said) -> None:
    welcome = Registration("fed", "a", 0, "1", skew, {})
    with pytest.raises(FedsimError, match=f"the clock is {said} the server's: set it by NTP"):
        looking._clock(welcome)
