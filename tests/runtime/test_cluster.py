"""A cluster of two nodes gives the numbers of one process, whatever becomes of its second node."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsim.cli.app import main
from fedsim.runlog.events import Event, Note, Result
from fedsim.runlog.run_folder import RunFolder
from fedsim.schema.scenario import Scenario

pytestmark = pytest.mark.ray

HERE = Path(__file__).parent
ENDER = f"{HERE / 'node_ender.py'}:NodeEnder"
LOCAL = {"lr": 0.1, "epochs": 1, "batch_size": 32}
WIDE = {"use": "mlp", "hidden": [500]}
"""A model of 37,510 parameters: its broadcast and its sums are too large to go by the way."""


class TwoNodes:
    """A head of one CPU, and another node of two."""

    def __init__(self, folder: Path) -> None:
        # As for a Ray on one machine: loopback addresses stay what they are.
        env = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_TMPDIR": tempfile.gettempdir()}
        env |= {"RAY_health_check_period_ms": "200"}  # five refusals, and a node is given up
        self.folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "two_nodes.py"), str(folder), "2"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **env},
        )
        (self.address,) = self._answer()

    def bytes_put(self) -> Any:
        """Return how many bytes each node's object store was given so far."""
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> Any:
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None
        assert stderr is not None
        for line in stdout:
            if line.startswith("["):
                return json.loads(line)
        pytest.skip(f"Ray's cluster utility does not start here: {stderr.read()[-300:]}")

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoNodes]:
    """Start two nodes; a Ray that other tests share makes way for the time being."""
    ray = pytest.importorskip("ray")
    from fedsim.runtime.ray_session import start

    others = ray.is_initialized()
    ray.shutdown()
    nodes = TwoNodes(tmp_path_factory.mktemp("nodes"))
    yield nodes
    nodes.close()
    if others:
        start(address=None, workers=2)


@pytest.fixture
def hidden(tmp_path: Path) -> Iterator[Path]:
    """Return a path to a folder that no other process sees."""
    handle = os.open(tmp_path, os.O_RDONLY)
    yield Path(f"/proc/self/fd/{handle}")
    os.close(handle)


def play(of: Scenario, parent: Path) -> tuple[Result, list[str]]:
    """Run a scenario; return its result and its notes."""
    from fedsim.engine.run import run_scenario

    notes: list[str] = []

    def watch(event: Event) -> None:
        notes.extend([event.text] if isinstance(event, Note) else [])

    return run_scenario(of, RunFolder.new(parent, of.name, "0" * 64), watch), notes


def test_data_and_broadcast_reach_each_node_once_and_the_numbers_stay(
    cluster, scenario, tmp_path, hidden
) -> None:
    here, _ = play(scenario(model=WIDE), tmp_path)
    before = cluster.bytes_put()
    of = scenario(model=WIDE, compute={"address": cluster.address})
    there, notes = play(of, hidden)
    assert (there.weights_sha256, there.metrics_sha256) == (
        here.weights_sha256,
        here.metrics_sha256,
    )
    shipped = [note for note in notes if "were shipped" in note]
    assert len(shipped) == 2, notes  # three workers, two nodes
    (store,) = (cluster.folder / "far").glob("fedsim-*/*/meta.json")
    data = sum(file.stat().st_size for file in store.parent.iterdir())
    _, came = (after - first for after, first in zip(cluster.bytes_put(), before, strict=True))
    broadcast, total = 4 * 37_510, 16 * 37_510
    # Each of three rounds brings the broadcast once, and leaves the sums of two workers.
    assert data + 3 * broadcast < came < data + 3 * (2 * broadcast + 2 * total)


def test_a_look_at_the_cluster_says_what_a_run_would_meet(cluster, capfd) -> None:
    assert main(["--format", "json", "cluster", "check", "--address", cluster.address]) == 0
    found = json.loads(capfd.readouterr().out)
    head, far = found["nodes"]
    assert found["workers"] == 3
    assert (head["is_here"], head["cpus"], head["workers"]) == (True, 1, 1)
    assert (far["is_here"], far["cpus"], far["workers"]) == (False, 2, 2)
    assert far["versions"] == head["versions"] == found["versions"]
    assert far["sees_data"]
    assert far["bytes_per_second"] > 0
    assert abs(far["clock_seconds"]) < 1
    assert far["faults"] == []


def test_a_look_at_a_cluster_that_is_too_small_is_a_fault_at_its_place(
    cluster, scenario, tmp_path, capfd
) -> None:
    file = tmp_path / "big.yaml"
    compute = {"address": cluster.address, "workers": 4}
    file.write_text(yaml.safe_dump({**scenario().resolved(), "compute": compute}))
    assert main(["cluster", "check", str(file)]) == 2
    (line, *_) = capfd.readouterr().err.splitlines()
    assert re.search(r"big.yaml:\d+:\d+: compute.workers: 4, but the cluster has room for 3", line)


def test_a_worker_and_a_node_that_die_in_a_round_change_no_number(
    cluster, scenario, tmp_path
) -> None:
    here, _ = play(scenario(model=WIDE), tmp_path)
    where = str(cluster.folder / "far")
    local = {**LOCAL, "use": ENDER, "where": where, "traces": str(tmp_path)}
    of = scenario(model=WIDE, local=local, compute={"address": cluster.address, "chunk": 1})
    there, notes = play(of, tmp_path)
    assert {"round 2", "round 3"} < {path.name for path in tmp_path.iterdir()}
    assert there.weights_sha256 == here.weights_sha256
    assert there.dropped == 0
    assert any("was replaced" in note for note in notes)
    assert any("left" in note or "is lost" in note for note in notes), notes
