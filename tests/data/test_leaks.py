"""No constant that training uses depends on a row that is held out, whatever the source."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedsim.client import Examples
from fedsim.data.dataset import Dataset, Source
from fedsim.data.federated import FederatedData, prepare_recipe
from fedsim.data.imputation import imputed, training_means
from fedsim.data.partitioning import Recipe
from fedsim.data.partitions.iid import Iid
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.npz import Npz
from fedsim.data.sources.parquet import Parquet

NAN = np.nan
DRAWS = np.random.default_rng(3)
ROWS = 120
Y = np.arange(ROWS) % 3
X = DRAWS.normal(size=(ROWS, 3)).astype(np.float32)
X[DRAWS.random((ROWS, 3)) < 0.2] = NAN
X[:, 2] = np.round(X[:, 2])


def npz(folder: Path, x: np.ndarray, **parameters: Any) -> Source:
    np.savez(folder / "a.npz", x=x, y=Y, is_category=[False, False, True])
    return Npz("a.npz", missing="mean", **parameters)


def masked(folder: Path, x: np.ndarray) -> Source:
    return npz(folder, x, categorical="is_category")


def pictures(folder: Path, x: np.ndarray) -> Source:
    return npz(folder, np.repeat(x[:, :, None], 2, axis=2))


def csv(folder: Path, x: np.ndarray) -> Source:
    pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=Y).to_csv(folder / "a.csv", index=False)
    return Csv("a.csv", missing="mean")


def parquet(folder: Path, x: np.ndarray) -> Source:
    frame = pd.DataFrame(x, columns=["a", "b", "c"]).assign(label=Y)
    frame.to_parquet(folder / "a.parquet")
    return Parquet("a.parquet", missing="mean")


def prepared(source: Source, folder: Path, name: str) -> FederatedData:
    recipe = Recipe(
        source, Iid(), 4, 1, folder, None, Fraction(1, 5), Fraction(1, 10), Fraction(1, 10)
    )
    return prepare_recipe(recipe, folder / name)


@pytest.mark.parametrize("write", [npz, masked, pictures, csv, parquet])
def test_rows_that_are_held_out_move_no_constant(
    tmp_path: Path, write: Callable[[Path, np.ndarray], Source]
) -> None:
    before = prepared(write(tmp_path, X), tmp_path, "before")
    stored = before.stored
    part = np.repeat(np.arange(12) % 3, np.diff(stored["offsets"]))
    trained = stored["origin"][part == 0]
    other = X.copy()
    is_held_out = ~np.isin(np.arange(ROWS), trained)
    assert is_held_out.sum() > 30
    other[is_held_out, :2] += 1000
    after = prepared(write(tmp_path, other), tmp_path, "after")
    for name in ("centre", "spread", "fill"):
        assert (after.stored[name] == stored[name]).all()
    for client in range(4):
        examples, again = before.train(client), after.train(client)
        assert isinstance(examples, Examples)
        assert (examples.inputs == again.inputs).all()
        assert not examples.inputs.isnan().any()
    assert not after.server_test().inputs.isnan().any()


def test_what_is_filled_in_is_the_training_rows_mean(tmp_path: Path) -> None:
    data = prepared(npz(tmp_path, X), tmp_path, "store")
    stored = data.stored
    part = np.repeat(np.arange(12) % 3, np.diff(stored["offsets"]))
    trained = stored["origin"][part == 0]
    assert stored["fill"] == pytest.approx(np.nanmean(X[trained], axis=0), rel=1e-6)


def test_bytes_and_data_without_gaps_are_left_as_they_are(tmp_path: Path) -> None:
    np.savez(tmp_path / "b.npz", x=np.zeros((ROWS, 4, 4), np.uint8), y=Y)
    dataset: Dataset = Npz("b.npz", missing="mean").load(1, tmp_path)
    assert not dataset.has_gaps
    assert dataset.inputs.dtype == np.uint8
    assert "fill" not in prepared(Npz("b.npz", missing="mean"), tmp_path, "b").stored


def test_a_column_without_any_number_becomes_zero() -> None:
    gaps = np.array([[NAN, 1.0], [NAN, 3.0], [5.0, NAN]], np.float32)
    fill = training_means(gaps, np.array([0, 1]), are_columns=True)
    assert imputed(gaps, fill).tolist() == [[0, 1], [0, 3], [5, 2]]
