"""Run folders written by hand, so that every number of a page is known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsim.runlog import clients
from fedsim.runlog.clients import ClientRow
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.rounds import encode


def pytest_configure(config: pytest.Config) -> None:
    # typer 0.20 asks click 8.5 for names that click is retiring.
    config.addinivalue_line("filterwarnings", "ignore:'click:DeprecationWarning")


def write(folder: Path, accuracies: Sequence[float | None], **said: Any) -> Path:
    """Write a finished run whose rounds have these accuracies; ``said`` changes its scenario."""
    folder.mkdir(parents=True)
    rows, domains = said.pop("rows", ()), said.pop("domains", ("",))
    by_domain = said.pop("by_domain", [{}] * len(accuracies))
    losses = [None if one is None else 1 - one for one in accuracies]
    losses = said.pop("losses", losses)
    scenario = {
        "schema": "fedsim/1",
        "name": "made",
        "seed": 1,
        "rounds": len(accuracies),
        "data": {"partition": {"use": "dirichlet", "alpha": 0.1}},
        "strategy": {"use": "fedavg"},
        "evaluation": {"targets": {"accuracy": 0.5}},
    } | said
    folder.joinpath("scenario.resolved.yaml").write_text(
        yaml.safe_dump(scenario, allow_unicode=True), encoding="utf-8"
    )
    lines = []
    for number, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True), 1):
        client = {"accuracy": accuracy or 0.0, "accuracy_worst_10": 0.1}
        measured = {} if accuracy is None else {"accuracy": accuracy, "loss": loss}
        record = RoundRecord(
            *(number, measured, (0, 1), (), {"loss": 1.0}, client), 1000, 2000, 0.5
        )
        record = replace(record, domains=by_domain[number - 1])
        lines.append(encode(record) + "\n")
    folder.joinpath("rounds.jsonl").write_text("".join(lines))
    result = {
        "strategy": "fedavg", "rounds": len(accuracies), "accuracy": accuracies[-1],
        "loss": losses[-1], "weights_sha256": "a" * 64, "references": {"centralized": 0.97},
        "bytes_up": 1000, "bytes_down": 2000, "seconds": 1.5, "targets": {}, "dropped": 0,
        "metrics_sha256": "b" * 64,
    }  # fmt: skip
    folder.joinpath("result.json").write_text(json.dumps(result))
    manifest = {"python": "3.11", "packages": {"torch": "2.13"}, "data_sha256": "c" * 64}
    folder.joinpath("manifest.json").write_text(json.dumps(manifest))
    dealt = [{"id": k, "examples": 3, "labels": [1, 2 - k % 2, k % 2]} for k in range(4)]
    folder.joinpath("partition.json").write_text(json.dumps({"clients": dealt, "label_skew": 0.2}))
    clients.append(
        folder / "clients.parquet",
        [
            ClientRow(
                len(accuracies),
                k,
                domains[k % len(domains)],
                examples,
                {"accuracy": right, "loss": 0.5},
                0.1,
                1,
                1,
            )
            for k, (examples, right) in enumerate(rows)
        ],
    )
    return folder


@pytest.fixture(scope="session")
def write_run() -> Callable[..., Path]:
    """Return a writer of run folders."""
    return write


@pytest.fixture
def runs(tmp_path: Path) -> Callable[..., Path]:
    """Return a maker of a folder of runs: final accuracies by strategy and seed, from seed 1."""

    def make(**finals: Sequence[float]) -> Path:
        for strategy, values in finals.items():
            for seed, value in enumerate(values, 1):
                folder = tmp_path / "made" / f"{strategy}-{seed}"
                half = [value / 2, value]
                write(folder, half, strategy={"use": strategy}, seed=seed, rows=[(4, 0.5)] * 4)
        return tmp_path / "made"

    return make
