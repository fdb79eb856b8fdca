"""A study on Ray: one Ray for all of its cells, however many run side by side."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import StudyLedger
from fedsim.scenario.study_file import load_study
from fedsim.study.execution import begin, go_on
from fedsim.study.resources import shared

pytest.importorskip("ray")
ON_RAY = "set: {compute: {backend: ray, workers: 2}, clients.count: 3}\nexclude: [{skew: mild}]\n"

WHERE = '''\
"""Says in which Ray it lives."""
import json
import os
from dataclasses import dataclass
from pathlib import Path

from fedsim.strategy import Strategy


@dataclass(frozen=True)
class Where(Strategy):
    """FedAvg that leaves a note."""

    server_lr: float = 1.0
    folder: Path = Path()

    def begin(self, weights, clients):
        import ray

        said = {
            "session": ray.get_runtime_context().gcs_address,
            "cpus": ray.cluster_resources()["CPU"],
            "process": os.getpid(),
        }
        (self.folder / f"{os.getpid()}-{self.server_lr}.json").write_text(json.dumps(said))
        return super().begin(weights, clients)
'''


@pytest.mark.ray
def test_the_cells_of_a_study_share_one_ray(tmp_path: Path, write_study) -> None:
    (tmp_path / "where.py").write_text(WHERE)
    (tmp_path / "notes").mkdir()
    one = "{use: './where.py:Where', folder: notes, server_lr: %s}"
    strategies = f"[{one % 1.0}, {one % 0.5}]"
    begin(load_study(write_study(tmp_path, strategies, "[1]", ON_RAY)), tmp_path / "run")
    ledger = go_on(tmp_path / "run", 2, lambda _: None)
    assert ledger.counts()["finished"] == 2
    notes = [json.loads(path.read_text()) for path in (tmp_path / "notes").iterdir()]
    assert len({note["process"] for note in notes}) == 2  # side by side
    assert {note["cpus"] for note in notes} == {2.0}
    assert len({note["session"] for note in notes}) == 1
    for cell in StudyLedger.read(tmp_path / "run").cells:
        said = RunFolder(tmp_path / "run" / "cells" / cell.name).read_scenario()
        assert said["compute"]["workers"] == 1  # its share


@pytest.mark.ray
def test_two_runs_on_one_ray_do_not_wait_for_each_other_for_ever(scenario, ray_session) -> None:
    import threading

    from fedsim.data.federated import prepare
    from fedsim.runtime.ray_grid import RayGrid

    of = scenario(compute={"backend": "ray", "workers": 2})
    store = of.folder / "data"
    sizes = prepare(of, store).sizes
    grids: list[RayGrid] = [RayGrid(of, store, sizes)]
    second = threading.Thread(target=lambda: grids.append(RayGrid(of, store, sizes)), daemon=True)
    second.start()  # wants both workers, and waits until the first gives both back
    grids[0].close()
    second.join(60)
    assert len(grids) == 2
    grids[1].close()


def test_without_ray_each_cell_has_a_core_of_its_own(scenario) -> None:
    local = scenario()
    with shared([local, local], 2) as crew:
        assert (crew.jobs, crew.sets, crew.environment) == (2, ("compute.backend=local",), {})
    with shared([local], 1) as crew:
        assert crew.sets == ()
