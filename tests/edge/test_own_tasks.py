"""A device with its own file learns any task as the simulated client with the same rows does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from fedsim.client import Examples
from fedsim.data.federated import FederatedData, prepare
from fedsim.edge.device_data import data_terms, open_data
from fedsim.errors import DataError
from fedsim.flower.parts import client_of, strategy_of
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario
from fedsim.wire import Broadcast, Instruction
from fedsim.worker.worker import Worker

ROWS, CLIENTS = 60, 3
Write = Callable[[Path, "np.ndarray[Any, Any]"], None]
"""Writes some of the rows to a file."""


def regression(folder: Path) -> tuple[dict[str, Any], str, Write]:
    draws = np.random.default_rng(1)
    frame = pd.DataFrame(draws.normal(size=(ROWS, 3)).round(3), columns=["a", "b", "c"])
    frame["kind"] = np.array(["old", "new", "worn"])[draws.integers(3, size=ROWS)]
    frame["price"] = (3 * frame["a"] + draws.normal(size=ROWS)).round(3)
    frame["trust"] = (draws.random(ROWS) + 0.1).round(3)
    frame["who"] = np.arange(ROWS) % CLIENTS
    source = {"use": "csv", "path": "all.csv", "label": "price", "weight": "trust", "client": "who"}
    told = {"data": {"source": source}, "task": "regression"}
    return told, "csv", lambda path, rows: frame.iloc[rows].to_csv(path, index=False)


def multilabel(folder: Path) -> tuple[dict[str, Any], str, Write]:
    draws = np.random.default_rng(2)
    frame = pd.DataFrame(draws.normal(size=(ROWS, 3)).round(3), columns=["a", "b", "c"])
    frame["warm"], frame["wet"] = draws.integers(2, size=ROWS), draws.integers(2, size=ROWS)
    frame["who"] = np.arange(ROWS) % CLIENTS
    source = {"use": "csv", "path": "all.csv", "label": ["warm", "wet"], "client": "who"}
    told = {"data": {"source": source}, "task": "multilabel"}
    return told, "csv", lambda path, rows: frame.iloc[rows].to_csv(path, index=False)


def arrays(**named: Any) -> Write:
    def write(path: Path, rows: np.ndarray[Any, Any]) -> None:
        np.savez(path, **{name: array[rows] for name, array in named.items()})

    return write


def tokens(folder: Path) -> tuple[dict[str, Any], str, Write]:
    text = np.random.default_rng(3).integers(7, size=(ROWS, 9))
    text[0, :7] = np.arange(7)  # all tokens are there
    told = {
        "data": {"source": {"use": "npz", "path": "all.npz", "client": "client"}},
        "task": "next_token",
        "model": {"use": "char_lstm", "hidden": 8, "layers": 1},
    }
    who = np.arange(ROWS) % CLIENTS
    return told, "npz", arrays(inputs=text[:, :-1], labels=text[:, 1:], client=who)


def masks(folder: Path) -> tuple[dict[str, Any], str, Write]:
    draws = np.random.default_rng(4)
    inputs = draws.normal(size=(ROWS, 1, 8, 8)).astype(np.float32)
    told = {
        "data": {"source": {"use": "npz", "path": "all.npz", "client": "client"}},
        "task": "segmentation",
        "model": {"use": "unet", "width": 4, "depth": 1},
    }
    targets = draws.integers(3, size=(ROWS, 8, 8))
    return told, "npz", arrays(inputs=inputs, labels=targets, client=np.arange(ROWS) % CLIENTS)


TASKS = {f.__name__: f for f in (regression, multilabel, tokens, masks)}


@pytest.fixture(params=TASKS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Scenario, str, Write]:
    told, ending, write = TASKS[request.param](tmp_path)
    write(tmp_path / f"all.{ending}", np.arange(ROWS))
    told["data"]["partition"] = "natural"
    told["data"]["holdout"] = {"server_test": "0%"}
    rest = {"rounds": 1, "model": "mlp", "local": {"lr": 0.05}, "strategy": "fedavg"}
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump({**rest, **told}))
    return load(file), ending, write


def turn(scenario: Scenario, data: FederatedData, client: int) -> dict[str, torch.Tensor]:
    worker = Worker(scenario, data, client_of(scenario, strategy_of(scenario)))
    info = data.clients[client]
    return worker.turn(Instruction(1, "train", info, Broadcast(worker.initial))).delta


def test_own_rows_give_the_simulated_clients_examples_and_update(
    case: tuple[Scenario, str, Write], tmp_path: Path
) -> None:
    scenario, ending, write = case
    data = prepare(scenario, tmp_path / "whole")
    terms = data_terms(scenario, data)
    for client in range(CLIENTS):
        mine = tmp_path / f"mine{client}.{ending}"
        write(mine, np.arange(client, ROWS, CLIENTS))
        own = open_data(str(mine), scenario, terms, client, tmp_path / "device")
        theirs, ours = data.train(client), own.train(client)
        assert isinstance(theirs, Examples)
        assert isinstance(ours, Examples)
        assert torch.equal(theirs.inputs, ours.inputs)
        assert torch.equal(theirs.labels, ours.labels)
        assert theirs.labels.dtype == ours.labels.dtype
        if theirs.weights is not None:
            assert ours.weights is not None
            assert torch.equal(theirs.weights, ours.weights)
        simulated, real = turn(scenario, data, client), turn(scenario, own, client)
        assert all(torch.equal(simulated[name], real[name]) for name in simulated)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.assign(price=np.inf), "a target is NaN or infinite"),
        (lambda f: f.assign(price="much"), "the label 'much' is not one of numbers"),
        (lambda f: f.assign(trust=-1.0), "the weights must be 0 or more"),
        (lambda f: f.assign(trust="high"), "the weights are no numbers"),
        (lambda f: f.drop(columns="trust"), "trust"),
    ],
)
def test_a_file_that_does_not_fit_the_task_is_refused(
    change: Callable[[pd.DataFrame], pd.DataFrame], message: str, tmp_path: Path
) -> None:
    told, _, write = regression(tmp_path)
    write(tmp_path / "all.csv", np.arange(ROWS))
    told["data"] |= {"partition": "natural"}
    file = tmp_path / "case.yaml"
    rest = {"rounds": 1, "model": "mlp", "strategy": "fedavg"}
    file.write_text(yaml.safe_dump({**rest, **told}))
    scenario = load(file)
    terms = data_terms(scenario, prepare(scenario, tmp_path / "whole"))
    change(pd.read_csv(tmp_path / "all.csv")).to_csv(tmp_path / "mine.csv", index=False)
    with pytest.raises(DataError, match=message):
        open_data(str(tmp_path / "mine.csv"), scenario, terms, 1, tmp_path / "device")


def test_a_mask_of_another_size_is_refused(tmp_path: Path) -> None:
    told, _, write = masks(tmp_path)
    write(tmp_path / "all.npz", np.arange(ROWS))
    told["data"] |= {"partition": "natural"}
    file = tmp_path / "case.yaml"
    file.write_text(yaml.safe_dump({"rounds": 1, "strategy": "fedavg", **told}))
    scenario = load(file)
    terms = data_terms(scenario, prepare(scenario, tmp_path / "whole"))
    inputs = np.zeros((2, 1, 8, 8), np.float32)
    for labels, message in (
        (np.zeros((2, 4, 4), np.int64), r"a target is \(4, 4\), not \(8, 8\)"),
        (np.full((2, 8, 8), 3), "integers from 0 to 2"),
        (np.zeros((2, 8, 8), np.float32), "integers from 0 to 2"),
    ):
        np.savez(tmp_path / "mine.npz", inputs=inputs, labels=labels)
        with pytest.raises(DataError, match=message):
            open_data(str(tmp_path / "mine.npz"), scenario, terms, 1, tmp_path / "device")
