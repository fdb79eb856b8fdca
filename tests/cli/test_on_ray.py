"""A run whose workers are called before torch is loaded is the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

SMALL = {
    "rounds": 2,
    "data": {"source": "digits", "holdout": {"server_test": "20%"}},
    "model": {"use": "mlp", "hidden": [8]},
    "clients": {"count": 5},
    "strategy": "fedavg",
}


def run(folder: Path, **sections: object) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **sections}))
    command = [sys.executable, "-m", "fedsim", "-q", "run", str(path), "--run-dir", "run"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def result(folder: Path) -> tuple[str, str]:
    said = json.loads((folder / "run" / "result.json").read_text())
    return said["weights_sha256"], said["metrics_sha256"]


@pytest.mark.ray
def test_workers_that_were_called_ahead_give_the_numbers_of_one_process(tmp_path: Path) -> None:
    for backend in ("local", "ray"):
        done = run(tmp_path / backend, compute={"backend": backend, "workers": 2})
        assert done.returncode == 0, done.stderr
        assert (tmp_path / backend / "run" / "partition.svg").is_file()
    assert result(tmp_path / "ray") == result(tmp_path / "local")


@pytest.mark.ray
def test_what_is_wrong_with_the_data_is_told_though_workers_were_called(tmp_path: Path) -> None:
    compute = {"backend": "ray", "workers": 2}
    done = run(tmp_path / "broken", clients={"count": 2000}, compute=compute)
    assert done.returncode == 3
    assert "2000 clients cannot share 1438 training examples" in done.stderr
