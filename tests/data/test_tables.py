"""A table is learnt from as it says, or not at all: what looks like a slip is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedsim.data.dataset import Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.naming import columns_text, names_text
from fedsim.data.partitions.natural import Natural
from fedsim.data.preview import text, write_partition
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.npz import Npz
from fedsim.data.sources.parquet import Parquet
from fedsim.errors import DataError

Partition = Callable[..., FederatedData]

DRAWS = np.random.default_rng(0)
ROWS = 400
LABEL = DRAWS.integers(2, size=ROWS)
FRAME = pd.DataFrame({"size": DRAWS.normal(size=ROWS) + LABEL, "label": LABEL})


def table(folder: Path, frame: pd.DataFrame, **parameters: Any) -> Dataset:
    frame.to_csv(folder / "a.csv", index=False)
    return Csv("a.csv", **parameters).load(1, folder)


def test_one_odd_cell_among_numbers_is_named_with_its_row(tmp_path: Path) -> None:
    values = FRAME["size"].round(3).astype(str)
    values[40] = "abc"
    frame = FRAME.assign(value=values)
    with pytest.raises(DataError, match=r"'value' holds numbers, but 'abc' in row 41: .*categ"):
        table(tmp_path, frame)
    values[7] = "n. a."
    with pytest.raises(DataError, match=r"'n. a.' in row 8 and 1 more that are none"):
        table(tmp_path, frame.assign(value=values))
    assert table(tmp_path, frame, categorical=("value",)).inputs.shape[1] > 300


def test_codes_that_are_seldom_numbers_stay_categories(tmp_path: Path) -> None:
    codes = np.array(["A1", "B2", "17"])[np.arange(ROWS) % 3]
    assert table(tmp_path, FRAME.assign(code=codes)).columns == (
        "size",
        "code=17",
        "code=A1",
        "code=B2",
    )


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ([None] * ROWS, "column 'new' is empty in every row: leave it out"),
        (["2024-02-29"] * ROWS, "column 'new' holds dates: .* categorical: "),
        (["2024-02-29 10:30"] * ROWS, "column 'new' holds dates"),
    ],
)
def test_what_no_number_can_be_made_of_is_refused(
    tmp_path: Path, column: list[Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        table(tmp_path, FRAME.assign(new=column), missing="mean")
    assert caught.value.parameter == "features"


@pytest.mark.parametrize(
    ("column", "message"),
    [([[1, 2]] * ROWS, "holds lists"), (pd.to_datetime(["2024-02-29"] * ROWS), "holds dates")],
)
def test_parquet_cells_that_are_no_numbers_are_refused(
    tmp_path: Path, column: Any, message: str
) -> None:
    FRAME.assign(new=column).to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=f"column 'new' {message}"):
        Parquet("a.parquet").load(1, tmp_path)


def test_an_index_without_a_name_is_left_out_and_said(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv")
    dataset = Csv("a.csv").load(1, tmp_path)
    assert dataset.columns == ("size",)
    assert "counts the rows: it is left out (Unnamed: 0)" in dataset.notes[0]
    assert [column.name for column in Csv("a.csv").plan(tmp_path)] == ["size"]


def test_a_column_that_differs_in_every_row_is_named(tmp_path: Path) -> None:
    frame = FRAME.assign(patient=DRAWS.permutation(ROWS) + 1000)
    (note,) = table(tmp_path, frame).notes
    assert note.startswith("column 'patient' differs in every row")


def test_a_column_that_alone_gives_the_label_away_is_named(tmp_path: Path) -> None:
    cost = LABEL * 10 + DRAWS.normal(size=ROWS)
    outcome = np.array(["well", "ill"])[LABEL]
    notes = table(tmp_path, FRAME.assign(cost=cost, outcome=outcome)).notes
    assert [note.split("'")[1] for note in notes] == ["cost", "outcome"]
    assert "alone tells" in notes[0]
    amount = table(tmp_path, FRAME.assign(label=cost, twice=2 * cost)).notes
    assert [note.split("'")[1] for note in amount] == ["twice"]
    assert not table(tmp_path, FRAME).notes


def test_several_labels_weights_and_categories_of_numbers(tmp_path: Path) -> None:
    frame = FRAME.assign(
        second=1 - LABEL, much=DRAWS.random(ROWS), grade=np.arange(ROWS) % 3, amount=FRAME["size"]
    )
    marks = table(tmp_path, frame, label=("label", "second"), weight="much", categorical=("grade",))
    assert marks.labels.dtype == np.bool_
    assert marks.labels.tolist() == np.stack([LABEL == 1, LABEL == 0], axis=1).tolist()
    assert marks.weight is not None
    assert marks.weight.tolist() == frame["much"].astype(np.float32).tolist()
    assert marks.columns == ("size", "grade=0", "grade=1", "grade=2", "amount")
    amounts = table(tmp_path, frame, label=("amount", "label"))
    assert amounts.labels.dtype == np.float32
    assert amounts.labels.shape == (ROWS, 2)
    assert amounts.target_names == ("amount", "label")


def test_class_numbers_with_gaps_or_in_the_test_alone_are_said(tmp_path: Path) -> None:
    x = np.zeros((4, 2))
    np.savez(tmp_path / "a.npz", x=x, y=[0, 1, 900, 1], x_test=x[:1], y_test=[5])
    notes = Npz("a.npz").load(1, tmp_path).notes
    assert notes[0] == "no training example is of class 5, which the test split has"
    assert "of the classes 0 to 900 only 4 have examples" in notes[1]


def test_class_numbers_beyond_a_bound_are_refused_before_anything_is_allocated(
    tmp_path: Path, partitioned: Partition
) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)), y=[0, 1, 2_000_000_000, 1])
    with pytest.raises(DataError, match="go from 0 to 2000000000; class numbers are integers"):
        partitioned(Npz("a.npz").load(1, tmp_path))


def test_columns_of_an_npz_have_the_names_that_it_gives(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "a.npz",
        x=np.array([[1.0, 0], [2, 7]]),
        y=[0, 1],
        feature_names=["age", "job"],
        is_categorical=[False, True],
    )
    assert Npz("a.npz").load(1, tmp_path).columns == ("age", "job")
    hot = Npz("a.npz", categorical="is_categorical").load(1, tmp_path)
    assert hot.columns == ("age", "job=0.0", "job=7.0")


def test_names_of_columns_classes_and_clients_reach_the_preview(
    tmp_path: Path, partitioned: Partition
) -> None:
    frame = FRAME.assign(label=np.array(["well", "ill"])[LABEL], site=["B", "A"] * (ROWS // 2))
    dataset = table(tmp_path, frame, client="site")
    data = partitioned(dataset, partition=Natural(), clients=None)
    shown = text(data)
    assert "columns: 1: size" in shown
    assert "classes: 2: ill, well" in shown
    assert shown.splitlines()[1].endswith(" A")
    write_partition(data, tmp_path)
    written = json.loads((tmp_path / "partition.json").read_text())
    assert [client["name"] for client in written["clients"]] == ["A", "B"]
    assert written["strata"] == ["ill", "well"]
    assert data.named() == {
        "columns": ["size"],
        "classes": ["ill", "well"],
        "clients": ["A", "B"],
    }


def test_many_names_are_shortened() -> None:
    assert names_text([str(k) for k in range(14)]).endswith("10, 11, ... 2 more")
    assert columns_text(["age", "job=cook", "job=nurse"]) == "2: age, job (2 values)"
