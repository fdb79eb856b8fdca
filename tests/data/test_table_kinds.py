"""A table by kinds: numbers and numbered categories reach a model as two inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedsim.data.fit import data_faults
from fedsim.data.records import fields_of
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.parquet import Parquet
from fedsim.data.table_kinds import numbered
from fedsim.data.table_layout import Planned
from fedsim.engine.run import run_scenario
from fedsim.errors import DataError
from fedsim.export.prediction import predict
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

ROWS = 80
NUMBERS = np.arange(ROWS)
FRAME = pd.DataFrame(
    {
        "size": NUMBERS % 7 + 0.5,
        "job": np.array(["cook", "nurse", "pilot"])[NUMBERS % 3],
        "grade": NUMBERS % 4,
        "label": (NUMBERS % 3 == 1).astype(int),
    }
)
MODEL = """\
from torch import nn

class Embedded(nn.Module):
    def __init__(self, *, shape, classes):
        super().__init__()
        assert dict(shape) == {"numeric": (1,), "category": (2,)}
        self.embed = nn.Embedding(shape.sizes["category"], classes)
        self.linear = nn.Linear(1, classes)

    def forward(self, numeric, category):
        return self.linear(numeric) + self.embed(category).sum(dim=1)
"""
SCENARIO = """\
kind: scenario
rounds: 3
data:
  source: {use: csv, path: a.csv, categorical: [grade], inputs_as: kinds}
  partition: iid
  holdout: {server_test: 20%}
model: ./model.py:Embedded
clients: {count: 3}
strategy: fedavg
local: {lr: 0.5, epochs: 5}
compute: {backend: local}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_parquet(tmp_path / "a.parquet")
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path


def test_columns_are_two_inputs_in_their_order(place: Path) -> None:
    for source in (Csv("a.csv", inputs_as="kinds"), Parquet("a.parquet", inputs_as="kinds")):
        dataset = source.load(1, place)
        fields = fields_of(dataset.inputs)
        assert fields["numeric"].tolist() == FRAME[["size", "grade"]].to_numpy().tolist()
        assert fields["category"].tolist() == [[1 + k % 3] for k in NUMBERS]
        assert dataset.notes[-1] == (
            "the inputs are numeric: size, grade; category: job (3 values)"
        )
        assert {*source.peek(place).fields} == {*fields}


def test_each_column_has_numbers_of_its_own_and_0_is_unknown(place: Path) -> None:
    FRAME.assign(job="astronaut").to_csv(place / "b.csv", index=False)
    source = Csv("a.csv", inputs_as="kinds", categorical=("grade",), test="b.csv")
    dataset = source.load(1, place)
    category = fields_of(dataset.inputs)["category"]
    assert category[:5].tolist() == [[1, 4], [2, 5], [3, 6], [1, 7], [2, 4]]
    assert dataset.test_inputs is not None
    assert fields_of(dataset.test_inputs)["category"][:2].tolist() == [[0, 4], [0, 5]]
    plan = [Planned("n"), Planned("a", values=()), Planned("b", values=("x", "z"))]
    columns = [np.array(["", "x"]), np.array(["z", "y"])]
    assert numbered(columns, plan).tolist() == [[0, 2], [0, 0]]


def test_absent_numbers_are_zero_or_refused(place: Path) -> None:
    FRAME.assign(size=[np.nan] + [1.0] * (ROWS - 1)).to_csv(place / "c.csv", index=False)
    with pytest.raises(DataError, match="say missing: zero"):
        Csv("c.csv", inputs_as="kinds", missing="mean").load(1, place)
    with pytest.raises(DataError, match="lack 1 values"):
        Csv("c.csv", inputs_as="kinds").load(1, place)
    zero = Csv("c.csv", inputs_as="kinds", missing="zero").load(1, place)
    assert fields_of(zero.inputs)["numeric"][0].tolist() == [0, 0]
    texts = Csv("a.csv", inputs_as="kinds", features=("job",))
    assert [*fields_of(texts.load(1, place).inputs)] == ["category"]
    assert {*texts.peek(place).fields} == {"category"}


def test_a_model_with_an_embedding_learns_and_predicts_for_a_table(place: Path) -> None:
    folder = RunFolder.create(place / "run")
    run_scenario(load(place / "s.yaml"), folder, lambda _: None)
    result = folder.result()
    assert result is not None
    assert result.metrics["accuracy"] == 1
    FRAME.drop(columns="label").to_csv(place / "new.csv", index=False)
    predicted = predict(folder, place / "new.csv")
    assert predicted["label"].astype(int).tolist() == FRAME["label"].tolist()


def test_a_model_of_the_shelf_is_refused(place: Path) -> None:
    (place / "s.yaml").write_text(SCENARIO.replace("./model.py:Embedded", "mlp"))
    (fault,) = data_faults(load(place / "s.yaml"))
    assert "mlp takes one array, and the inputs are several arrays: numeric, category" in (
        fault.message
    )
