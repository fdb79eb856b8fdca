"""A stacked run is a function of its scenario too, and says where it cannot be one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedsim.engine.run import resume_run
from fedsim.runlog.run_folder import RunFolder
from fedsim.runtime.stacking import COHORT

CLIENTS = {"count": 11, "per_round": 9}
NAUGHTY = f"{Path(__file__).with_name('naughty.py')}:Naughty"


def on(backend: str = "local", **compute: object) -> dict[str, object]:
    return {"backend": backend, "cohort": 4, **compute}


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedprox", "fednova"])
def test_it_equals_itself_in_any_chunks_and_the_loop_up_to_rounding(
    strategy, scenario, play
) -> None:
    of = {"strategy": strategy, "clients": CLIENTS}
    whole = play(scenario(compute=on(), **of))
    for chunk in (1, 3, 8):
        cut = play(scenario(compute=on(chunk=chunk), **of))
        assert cut.result.weights_sha256 == whole.result.weights_sha256
        assert cut.result.metrics_sha256 == whole.result.metrics_sha256
    alone = play(scenario(**of))
    assert whole.notes == []
    for one, other in zip(alone.rounds, whole.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert (one.bytes_up, one.bytes_down) == (other.bytes_up, other.bytes_down)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("compute", [{"workers": 1}, {"workers": 2}, {"workers": 2, "chunk": 4}])
def test_it_equals_itself_on_any_workers(compute, scenario, play) -> None:
    here = play(scenario(compute=on(), clients=CLIENTS)).result
    there = play(scenario(compute=on("ray", **compute), clients=CLIENTS)).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256


DEADLY = """
import os
from dataclasses import dataclass
from pathlib import Path

from fedsim.clients.sgd import Sgd


@dataclass(frozen=True)
class Deadly(Sgd):
    mark: str = ""

    def correction(self, task, weights):
        if (task.client.id, task.round) == (4, 2) and not Path(self.mark).exists():
            Path(self.mark).touch()
            os._exit(9)
        return None
"""


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("chunk", ["auto", 4], ids=str)
def test_a_worker_killed_amid_a_stack_costs_nothing(chunk, scenario, play, tmp_path) -> None:
    (tmp_path / "deadly.py").write_text(DEADLY)
    mark = tmp_path / "it has died"
    local = {"lr": 0.1, "use": "./deadly.py:Deadly", "mark": str(mark)}
    ray = on("ray", workers=2, chunk=chunk)
    killed = play(scenario(compute=ray, clients=CLIENTS, local=local))
    assert mark.exists()
    assert [note for note in killed.notes if "was replaced" in note]
    spared = play(scenario(compute=on(), clients=CLIENTS, local=local))
    assert spared.notes == []  # it was stacked
    assert killed.result.weights_sha256 == spared.result.weights_sha256
    assert killed.result.metrics_sha256 == spared.result.metrics_sha256
    assert killed.result.dropped == 0


def test_what_auto_found_is_kept_for_the_whole_run(scenario, play, tmp_path, run_killed_at) -> None:
    of = scenario(compute=on(cohort="auto"), clients=CLIENTS)
    folder = RunFolder.create(tmp_path / "killed")
    run_killed_at(of, folder, 2)
    found = folder.read_json(COHORT)
    assert found["cohort"] in (1, 4)
    assert found["milliseconds"].keys() == {"1", "4"}
    # Had the trial found the other, as it may on another machine, the run would keep to that.
    for cohort in (5 - found["cohort"], found["cohort"]):
        folder.write(COHORT, {**found, "cohort": cohort})
        copied = RunFolder(shutil.copytree(folder.path, tmp_path / f"copy {cohort}"))
        resumed = resume_run(copied, lambda event: None)
        settled = play(scenario(compute=on(cohort=cohort), clients=CLIENTS)).result
        assert resumed.weights_sha256 == settled.weights_sha256
    assert "cohort.json" in play(of).notes[0]


def test_where_stacking_is_impossible_it_says_so_and_trains_one_by_one(scenario, play) -> None:
    local = {"lr": 0.1, "epochs": 1, "batch_size": 32, "use": NAUGHTY, "when": 99}
    outcome = play(scenario(compute=on(), local=local))
    assert outcome.result.weights_sha256 == play(scenario(local=local)).result.weights_sha256
    assert len(outcome.notes) == 1
    assert "one by one: this local update rule cannot" in outcome.notes[0]


def test_a_model_that_cannot_be_stacked_is_named(scenario, play, tmp_path) -> None:
    (tmp_path / "noisy.py").write_text(
        "from torch import nn\n"
        "from fedsim.models._split import SplitModel\n\n\n"
        "class Noisy(SplitModel):\n"
        "    def __init__(self, shape, classes):\n"
        "        body = nn.Sequential(nn.Flatten(), nn.Dropout(0.1))\n"
        "        super().__init__(body, 64, classes)\n"
    )
    outcome = play(scenario(compute=on(), model="./noisy.py:Noisy"))
    assert outcome.notes == [
        "clients train one by one: this model cannot be stacked: "
        "dropout (body.1) draws for one client at a time"
    ]
