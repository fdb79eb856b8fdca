"""What is shipped of a run: four small files, of which Flower makes an app, and no secret."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

from fedsim.data.federated import prepare
from fedsim.edge.device_data import data_terms
from fedsim.edge.flower_app import Shipped, write_app

FILES = {
    "fedsim_client_app.py",
    "fedsim_server_app.py",
    "pyproject.toml",
    "scenario.yaml",
    "terms.json",
}


def shipped(of, folder: Path) -> Shipped:
    data = prepare(of, folder / "data")
    write_app(folder / "app", Shipped("0123abcd", of, data_terms(of, data)))
    return Shipped.load(folder / "app")


def test_what_is_shipped_is_what_was_written(scenario, tmp_path) -> None:
    of = scenario(strategy="scaffold")
    found = shipped(of, tmp_path)
    assert found.run == "0123abcd"
    assert found.scenario == of
    assert found.terms["shape"] == [1, 8, 8]
    assert found.terms["classes"] == 10
    assert {path.name for path in (tmp_path / "app").iterdir()} == FILES


def test_flower_takes_it(scenario, tmp_path) -> None:
    shipped(scenario(), tmp_path)
    flwr = Path(sys.executable).with_name("flwr")
    done = subprocess.run(
        [flwr, "build", "--app", tmp_path / "app"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env={"PATH": "", "HOME": str(tmp_path), "FLWR_TELEMETRY_ENABLED": "0"},
    )
    fabs = list(tmp_path.glob("*.fab"))
    assert len(fabs) == 1, done.stdout + done.stderr
    with zipfile.ZipFile(fabs[0]) as fab:
        assert set(fab.namelist()) >= FILES
