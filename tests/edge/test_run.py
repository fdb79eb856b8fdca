"""A run on three devices over TLS with keys, in processes of their own, is the simulation."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import yaml

from fedsim.edge.federation import Federation
from fedsim.edge.layout import FederationPlan, make_federation
from fedsim.edge.processes import end
from tests.edge.conftest import SCENARIO, free_ports

NODES = ("a", "b", "c")


@contextmanager
def running(*words: str, until: str, log: Path) -> Iterator[None]:
    """Run a command of fedsim's beside the block, which begins when it has said ``until``."""
    command = [sys.executable, "-m", "fedsim", *words]
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
    try:
        end_of_patience = time.monotonic() + 120
        while until not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end_of_patience, log.read_text()
            time.sleep(0.2)
        yield
    finally:
        end(process)


@pytest.fixture
def joined(tmp_path: Path) -> Iterator[Federation]:
    """Return a federation that is served, with three devices that have joined it."""
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump({**SCENARIO, "strategy": "scaffold"}))
    port, control = free_ports(2)
    made = make_federation(
        FederationPlan(file, NODES, "127.0.0.1", port, control), tmp_path / "fed"
    )
    with ExitStack() as stack:
        words = ("edge", "server", str(made.path), "--listen", "127.0.0.1")
        stack.enter_context(running(*words, until="ready", log=tmp_path / "server.log"))
        for name in NODES:
            words = ("edge", "join", str(made.path / "bundles" / name), "--data", "scenario")
            stack.enter_context(running(*words, until="joined", log=tmp_path / f"{name}.log"))
        yield made


def fedsim(*words: str) -> None:
    command = [sys.executable, "-m", "fedsim", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.edge
@pytest.mark.timeout(600)
def test_it_is_bit_for_bit_the_simulation(joined, tmp_path) -> None:
    scenario, here, there = str(joined.scenario), tmp_path / "here", tmp_path / "there"
    fedsim("run", scenario, "--run-dir", str(here))
    fedsim("run", scenario, "--on", str(joined.path), "--run-dir", str(there))
    ours, theirs = (json.loads((run / "result.json").read_text()) for run in (here, there))
    for name in ("weights_sha256", "metrics_sha256", "rounds", "dropped"):
        assert theirs[name] == ours[name]
    planted = (joined.path / "bundles" / "a" / "node.key").read_text().splitlines()[1]
    for path in there.rglob("*"):
        assert not path.is_file() or planted.encode() not in path.read_bytes()
    assert "--token" not in (there / "manifest.json").read_text()
