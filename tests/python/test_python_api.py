"""fedsim from Python leaves what the command leaves, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedsim
from fedsim.analysis.frames import Frames
from fedsim.errors import RunFolderError, ScenarioError
from fedsim.python_api.finished_run import Run
from fedsim.scenario.load import load as load_scenario
from fedsim.scenario.yaml_file import dump

SCENARIO: dict[str, Any] = {
    "rounds": 2,
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.5}},
    "model": {"use": "mlp", "hidden": [8]},
    "clients": {"count": 4},
    "strategy": "fedavg",
    "compute": {"backend": "local"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder of the test's own, with the scenario in it."""
    monkeypatch.chdir(tmp_path)
    Path("small.yaml").write_text(dump({**SCENARIO, "name": "small"}))
    return tmp_path


def hashes(run: Run) -> tuple[str, str]:
    return run.result.weights_sha256, run.result.metrics_sha256


def test_path_mapping_scenario_and_command_give_the_same_hashes() -> None:
    runs = [
        fedsim.run("small.yaml"),
        fedsim.run(SCENARIO),
        fedsim.run(load_scenario(Path("small.yaml"))),
    ]
    command = [sys.executable, "-m", "fedsim", "run", "small.yaml", "--run-dir", "c", "-q"]
    subprocess.run(command, check=True, capture_output=True)
    runs.append(Run(fedsim.load("c")._folder))  # type: ignore[union-attr]
    assert len({hashes(run) for run in runs}) == 1
    assert sorted(path.name for path in Path().glob("*.yaml")) == ["small.yaml"]


def test_a_run_has_what_a_reader_wants_of_it() -> None:
    run = fedsim.run("small.yaml", rounds=3, clients__per_round=2, local__lr=0.2)
    assert run.scenario.rounds == 3
    assert run.scenario.local.parameters["lr"] == 0.2
    assert list(run.rounds["round"]) == [1, 2, 3]
    assert run.value() == run.value("accuracy") == run.result.accuracy
    with pytest.raises(KeyError, match="accuracy, loss"):
        run.value("rmse")
    assert set(run.weights) == set(run.model().state_dict())
    assert not run.model().training
    assert run.predictor()(torch.zeros(1, 1, 8, 8)).sum().item() == pytest.approx(1.0)
    assert run.plot().axes[0].get_ylabel() == "test accuracy"
    assert "accuracy" in repr(run)
    assert "<table>" in run._repr_html_()
    again = fedsim.load(run.folder)
    assert isinstance(again, Run)
    assert hashes(again) == hashes(run)


def test_threads_and_environment_are_as_before() -> None:
    threads, environment = torch.get_num_threads(), dict(os.environ)
    fedsim.run(SCENARIO)
    assert torch.get_num_threads() == threads
    assert dict(os.environ) == environment


def test_a_fault_is_raised_with_its_place_and_nothing_is_left_behind() -> None:
    with pytest.raises(ScenarioError, match="fedagv"):
        fedsim.run({**SCENARIO, "strategy": "fedagv"})
    assert sorted(path.name for path in Path().iterdir()) == ["small.yaml"]


def test_arrays_are_kept_by_their_hash_so_that_a_run_can_be_repeated() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(120, 5)).astype(np.float32)
    y = (x[:, 0] > 0).astype(int)
    run = fedsim.run(SCENARIO, data=(x, y))
    file = Path(run.scenario.data.source.parameters["path"])
    assert file.parent.name == "inputs"
    assert hashes(fedsim.run(run.scenario)) == hashes(run)
    assert fedsim.run(SCENARIO, data=(x, y)).scenario.data.source == run.scenario.data.source


def test_a_run_that_was_stopped_is_gone_on_with() -> None:
    straight = fedsim.run("small.yaml")
    cut = fedsim.run("small.yaml", folder="cut")
    for name in ("result.json", "model.safetensors"):
        (cut.folder / name).unlink()
    (newest,) = cut.folder.glob("checkpoints/round_0002")
    (newest / "state.json").write_text("torn")
    stopped = fedsim.load("cut")
    assert isinstance(stopped, Run)
    with pytest.raises(RunFolderError, match="is not finished"):
        stopped.value()
    assert hashes(fedsim.resume("cut")) == hashes(straight)


def test_what_differs_from_where_a_run_began_is_said_at_resume(capsys) -> None:
    import json

    from fedsim.engine.resume_notes import resume_notes
    from fedsim.runlog.run_folder import RunFolder

    folder = RunFolder(fedsim.run("small.yaml").folder)
    assert resume_notes(folder) == []
    begun = json.loads((folder.path / "manifest.json").read_text())
    folder.write("manifest.json", {**begun, "cpu": "Another", "packages": {"torch": "2.0"}})
    (note,) = resume_notes(folder)
    assert "the processor was Another" in note
    assert "torch was 2.0, now " in note
    del begun["repeatable"]  # as version 0.1 wrote it
    folder.write("manifest.json", begun)
    (note,) = resume_notes(folder)
    assert "not pinned (fedsim 0.1)" in note


def test_a_study_comes_back_as_frames() -> None:
    Path("study.yaml").write_text(
        "kind: study\nbase: small.yaml\nseeds: [1]\naxes: {strategy: [fedavg, fedadam]}\n"
    )
    frames = fedsim.run_study("study.yaml")
    assert isinstance(frames, Frames)
    assert sorted(frames.cells["strategy"]) == ["fedadam", "fedavg"]
    assert set(frames.cells["status"]) == {"finished"}


def test_importing_fedsim_is_light_and_tells_its_version() -> None:
    code = "import fedsim, sys; fedsim.__version__; assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="nothing_such"):
        fedsim.nothing_such  # noqa: B018


class Cell(torch.nn.Module):
    """As somebody writes it in a notebook."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(64, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layer(inputs.flatten(1))
        return logits


def test_a_module_of_this_process_is_trained_from_the_weights_that_it_has() -> None:
    module = Cell()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    scenario = {**SCENARIO, "compute": {}, "local": {"lr": 0.05}}
    scenario.pop("model")
    run = fedsim.run(scenario, model=module)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    far = run.weights["layer.weight"] - before["layer.weight"]
    assert 0 < float(far.abs().max()) < 0.5
    assert hashes(fedsim.run(scenario, model=module)) == hashes(run)
    started = fedsim.run(scenario, model=run.model())
    assert started.value("accuracy") > run.value("accuracy")
    code = f"import fedsim; fedsim.resume({str(run.folder)!r})"
    (Path(run.folder) / "result.json").unlink()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "lived in the Python process that began it" in done.stderr
    assert fedsim.resume(run.folder).result.weights_sha256 == run.result.weights_sha256


def test_a_module_of_this_process_cannot_go_to_ray() -> None:
    with pytest.raises(ScenarioError, match="not known to Ray"):
        fedsim.run(SCENARIO, model=Cell(), compute__backend="ray")
    with pytest.raises(TypeError, match=r"a torch.nn.Module is expected, not int"):
        fedsim.run(SCENARIO, model=3)  # type: ignore[arg-type]
