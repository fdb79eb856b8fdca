"""Trackers get what the run folder gets, and none of them can end or change a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from fedsim.engine.run import resume_run, run_scenario
from fedsim.errors import Interrupted, MissingPackage, ScenarioError
from fedsim.runlog.events import Result, RoundRecord
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.trackers import Mlflow, Wandb, scalars
from fedsim.scenario.load import load

MINE = '''\
"""Trackers for tests."""

import json


class Lines:
    """Writes a line for everything."""

    def start(self, scenario, folder):
        self.file = folder / "told.jsonl"
        self._tell(["start", scenario["name"], folder.name])

    def round(self, record):
        self._tell(["round", record.round, record.accuracy])

    def finish(self, result):
        self._tell(["finish", result and result.accuracy])

    def _tell(self, what):
        with self.file.open("a") as file:
            file.write(json.dumps(what) + "\\n")


class Fails(Lines):
    """Loses its server in round 2."""

    def round(self, record):
        if record.round == 2:
            raise ConnectionError("no route\\nto the host")


class Stops(Lines):
    """Is where Ctrl-C arrives."""

    def round(self, record):
        if record.round == 2:
            raise KeyboardInterrupt
'''
RECORD = RoundRecord(2, {"accuracy": 0.5}, (0, 1), (), {"loss": 1.5}, {}, 10, 20, 0.25)
RESULT = Result("fedavg", 2, {"accuracy": 0.5, "loss": 1.0}, "ab", {}, 20, 40, 0.5, {}, 0, "cd")


@pytest.fixture
def tracking(tmp_path: Path, scenario):
    """Return a maker of scenarios that report to the named trackers."""
    (tmp_path / "mine.py").write_text(MINE)
    return lambda *names: scenario(tracking=list(names))


def told(folder: RunFolder) -> list[list[Any]]:
    return [json.loads(line) for line in (folder.path / "told.jsonl").read_text().splitlines()]


def test_a_tracker_is_told_the_run_from_start_to_end(tracking, play) -> None:
    done = play(tracking("./mine.py:Lines"))
    rounds = [["round", record.round, record.accuracy] for record in done.rounds]
    start, end = ["start", "small", done.folder.path.name], ["finish", done.result.accuracy]
    assert told(done.folder) == [start, *rounds, end]


def test_a_tracker_that_fails_is_noted_once_and_changes_nothing(tracking, play) -> None:
    done, alone = play(tracking("./mine.py:Fails", "./mine.py:Lines")), play(tracking())
    (note,) = done.notes
    assert "mine.py:Fails failed and is left out: ConnectionError: no route to the host" in note
    assert len([line for line in told(done.folder) if line[0] == "round"]) == 3
    assert done.result.weights_sha256 == alone.result.weights_sha256


def test_a_run_that_is_cut_off_ends_without_a_result_and_can_go_on(tracking, tmp_path) -> None:
    of, folder = tracking("./mine.py:Stops"), RunFolder.create(tmp_path / "run")
    with pytest.raises(Interrupted):
        run_scenario(of, folder, print)
    assert told(folder)[-1] == ["finish", None]
    result = resume_run(folder, print)
    assert told(folder)[-1] == ["finish", result.accuracy]


def test_a_file_is_found_from_the_resolved_scenario_too(tracking, tmp_path: Path) -> None:
    of = tracking("./mine.py:Lines")
    assert of.tracking == (f"{tmp_path / 'mine.py'}:Lines",)


def test_an_unknown_tracker_is_said_with_its_place(scenario, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(tracking=["tensorbord", 3])
    first, second = caught.value.faults
    assert (first.key, first.message) == ("tracking[0]", "no tracker is called 'tensorbord'")
    assert first.hint.startswith("did you mean 'tensorboard'?")
    assert second.key == "tracking[1]"
    with pytest.raises(ScenarioError, match="tracking"):
        load(tmp_path / "small.yaml", ["tracking=mlflow"])


def test_an_absent_package_is_said_before_a_client_works(tracking, play, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingPackage, match=r'pip install "fedsim\[wandb\]"'):
        play(tracking("wandb"))


def test_what_was_not_taken_is_not_told() -> None:
    assert scalars(RECORD) == {
        "server/accuracy": 0.5,
        "train/loss": 1.5,
        "cost/bytes_up": 10,
        "cost/bytes_down": 20,
        "cost/seconds": 0.25,
        "cost/dropped": 0,
    }


def test_weights_and_biases_is_offline_unless_the_user_says_else(monkeypatch, tmp_path) -> None:
    begun: list[dict[str, Any]] = []
    monkeypatch.setitem(sys.modules, "wandb", package := ModuleType("wandb"))
    vars(package)["init"] = lambda **how: begun.append(how)
    for mode in ("", "online"):
        monkeypatch.setenv("WANDB_MODE", mode) if mode else monkeypatch.delenv("WANDB_MODE", False)
        Wandb().start({"name": "quick"}, tmp_path)
    assert [(how["mode"], how["resume"]) for how in begun] == [
        ("offline", None),
        ("online", "allow"),
    ]
    assert begun[0]["id"] == begun[1]["id"]


class Client:
    """Keeps what an MLflow client is told."""

    def __init__(self, tracking_uri: str | None) -> None:
        self.uri, self.ended = tracking_uri, ""
        self.params: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self.metrics: list[tuple[str, str, float, int]] = []

    def get_experiment_by_name(self, name: str) -> None: ...

    def create_experiment(self, name: str, place: str | None) -> str:
        return name

    def create_run(self, experiment: str, run_name: str) -> Any:
        return SimpleNamespace(info=SimpleNamespace(run_id=f"{experiment}-1"))

    def log_param(self, run: str, key: str, value: str) -> None:
        self.params[key] = value

    def set_tag(self, run: str, key: str, value: str) -> None:
        self.tags[key] = value

    def log_metric(self, run: str, name: str, value: float, step: int = 0) -> None:
        self.metrics.append((run, name, value, step))

    def set_terminated(self, run: str, status: str) -> None:
        self.ended = status


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    """Stand in for MLflow; gives the clients that were made."""
    made: list[Client] = []

    def client(tracking_uri: str | None) -> Client:
        made.append(Client(tracking_uri))
        return made[-1]

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", package := ModuleType("tracking"))
    vars(package)["MlflowClient"] = client
    return made


def test_mlflow_stays_in_the_run_folder_and_goes_on_with_its_run(
    mlflow: list[Client], tmp_path: Path
) -> None:
    for rounds, result in ((2, None), (5, RESULT)):
        tracker = Mlflow()
        source = {"source": {"use": "digits"}}
        tracker.start({"name": "quick", "rounds": rounds, "data": source}, tmp_path)
        tracker.round(RECORD)
        tracker.finish(result)
    first, second = mlflow
    assert first.uri == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert first.params == {"name": "quick", "rounds": "2", "data.source.use": "digits"}
    assert (first.tags, second.tags) == ({}, {"rounds": "5"})
    assert ("quick-1", "train/loss", 1.5, 2) in first.metrics
    assert set(first.metrics) < set(second.metrics)
    assert (first.ended, second.ended, second.params) == ("KILLED", "FINISHED", {})


def test_mlflow_goes_where_the_user_says(
    mlflow: list[Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    Mlflow().start({"name": "quick"}, tmp_path)
    assert mlflow[0].uri is None  # the package reads the variable itself


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_holds_the_curve(tracking, play) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing import event_accumulator

    done = play(tracking("tensorboard"))
    read = event_accumulator.EventAccumulator(str(done.folder.path / "tensorboard")).Reload()
    curve = [(point.step, point.value) for point in read.Scalars("server/accuracy")]
    assert curve == [(r.round, pytest.approx(r.accuracy)) for r in done.rounds]
    start = read.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    assert b"strategy.use" in start
    assert b"fedavg" in start
