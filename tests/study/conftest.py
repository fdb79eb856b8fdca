"""A small study on disk, with strategies that fail, diverge and die on purpose."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BASE = """\
rounds: 3
data:
  source: digits
  partition: {use: dirichlet, alpha: 1.0, min_size: 5}
  holdout: {client_test: 20%}
model: {use: mlp, hidden: [8]}
clients: {count: 4}
local: {lr: 0.1, epochs: 1, batch_size: 64}
strategy: fedavg
evaluation: {clients: 3, targets: {accuracy: 0.3}}
"""

BROKEN = '''\
"""Strategies that go wrong on purpose."""

import os
from dataclasses import dataclass

from fedsim.strategy import Strategy


@dataclass(frozen=True)
class Fails(Strategy):
    """Fails in its first round."""

    def step(self, state, merged, server):
        raise ValueError("a <b>bold</b> mistake & more")


@dataclass(frozen=True)
class Dies(Strategy):
    """Takes its process with it."""

    def step(self, state, merged, server):
        os._exit(7)


@dataclass(frozen=True)
class Diverges(Strategy):
    """Ends in weights that overflow."""

    def evaluate(self, state):
        return {name: tensor * 1e38 for name, tensor in state.weights.items()}
'''


def pytest_configure(config: pytest.Config) -> None:
    # typer 0.20 asks click 8.5 for names that click is retiring.
    config.addinivalue_line("filterwarnings", "ignore:'click:DeprecationWarning")


def write(folder: Path, strategies: str, seeds: str, more: str = "") -> Path:
    (folder / "base.yaml").write_text(BASE)
    (folder / "broken.py").write_text(BROKEN)
    path = folder / "small.yaml"
    path.write_text(
        f"kind: study\nbase: base.yaml\nseeds: {seeds}\n"
        f"axes:\n  strategy: {strategies}\n"
        "  skew:\n    mild: {data.partition.alpha: 5.0}\n    severe: {data.partition.alpha: 0.3}\n"
        f"{more}"
    )
    return path


@pytest.fixture(scope="session")
def write_study() -> Callable[..., Path]:
    """Return a writer of study files: the folder, strategies and seeds as YAML, and more keys."""
    return write


@pytest.fixture
def study_file(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of study files with something in them where nothing is said."""

    def small(
        strategies: str = "[fedavg, {use: fedprox, mu: 0.1}]", seeds: str = "[1, 2]", more: str = ""
    ) -> Path:
        return write(tmp_path, strategies, seeds, more)

    return small


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Return a function that starts fedsim in a process of its own."""
    processes = []

    def start(*words: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-m", "fedsim", *words],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Tests that a shell runs in the background have Ctrl-C ignored, and so would this one.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
