"""A run that is given more rounds is the run that had them from the start, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from fedsim.cli.app import main
from fedsim.engine.run import resume_run
from fedsim.errors import RunFolderError
from fedsim.runlog.run_folder import RunFolder

EVERYTHING = {
    "references": ["local"],
    "checkpoint": {"every": 3},
    "data": {
        "source": "digits",
        "partition": {"use": "dirichlet", "alpha": 0.5},
        "holdout": {"client_val": "10%", "client_test": "10%"},
    },
    # Of 4 rounds the last is evaluated though it is not due, of 7 it is not.
    "evaluation": {"every": 3, "clients": 3, "targets": {"accuracy": 0.5}},
}


def ignore(_: object) -> None:
    pass


def assert_same(longer: RunFolder, at_once: RunFolder) -> None:
    first, second = longer.result(), at_once.result()
    assert first is not None
    assert second is not None
    assert first.weights_sha256 == second.weights_sha256
    assert first.metrics_sha256 == second.metrics_sha256
    assert first.references == second.references
    assert first.targets == second.targets
    assert (first.bytes_up, first.bytes_down) == (second.bytes_up, second.bytes_down)
    assert longer.scenario.read_text() == at_once.scenario.read_text()


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedadam"])
def test_four_rounds_prolonged_to_seven_are_seven_at_once(strategy, scenario, play) -> None:
    import pandas as pd

    at_once = play(scenario(strategy=strategy, rounds=7, **EVERYTHING)).folder
    longer = play(scenario(strategy=strategy, rounds=4, **EVERYTHING)).folder
    before = longer.rounds()[-1]
    assert before.metrics
    assert before.clients
    resume_run(longer, ignore, rounds=7)
    assert_same(longer, at_once)
    frames = [pd.read_parquet(run.path / "clients.parquet") for run in (longer, at_once)]
    assert frames[0].drop(columns="seconds").equals(frames[1].drop(columns="seconds"))
    manifest = longer.read_json("manifest.json")
    assert manifest["scenario_sha256"] == at_once.read_json("manifest.json")["scenario_sha256"]
    assert [(entry["from"], entry["to"]) for entry in manifest["prolonged"]] == [(4, 7)]
    assert main(["rerun", str(longer.path), "--verify"]) == 0


@pytest.mark.ray
@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fedadam"])
def test_two_workers_prolong_to_the_same_bits(strategy, scenario, play, ray_session) -> None:
    here, there = {"backend": "local"}, {"backend": "ray", "workers": 2}
    at_once = play(scenario(strategy=strategy, rounds=7, compute=here)).result
    longer = play(scenario(strategy=strategy, rounds=4, compute=there)).folder
    result = resume_run(longer, ignore, rounds=7)
    assert result.weights_sha256 == at_once.weights_sha256
    assert result.metrics_sha256 == at_once.metrics_sha256


def test_an_interrupted_run_and_one_prolonged_twice_come_to_the_same(
    scenario, play, tmp_path, run_killed_at
) -> None:
    at_once = play(scenario(rounds=7, **EVERYTHING)).folder
    twice = play(scenario(rounds=2, **EVERYTHING)).folder
    resume_run(twice, ignore, rounds=5)
    resume_run(twice, ignore, rounds=7)
    assert_same(twice, at_once)
    cut = RunFolder.create(tmp_path / "cut")
    run_killed_at(scenario(rounds=4, **EVERYTHING), cut, 4)
    resume_run(cut, ignore, rounds=7)
    assert_same(cut, at_once)


def test_a_prolonged_run_killed_anywhere_resumes_to_the_same_end(scenario, play, tmp_path) -> None:
    class Killed(BaseException):
        """Stands for a process that ends without a chance to tidy up."""

    at_once = play(scenario(rounds=6, **EVERYTHING)).folder
    short = play(scenario(rounds=4, **EVERYTHING)).folder
    for number in range(1, 8):
        longer = RunFolder(tmp_path / f"killed {number}")
        shutil.copytree(short.path, longer.path)
        events: list[object] = []

        def watch(event: object, events: list[object] = events, number: int = number) -> None:
            events.append(event)
            if len(events) == number:
                raise Killed

        with pytest.raises(Killed):
            resume_run(longer, watch, rounds=6)
        resume_run(longer, ignore)
        assert_same(longer, at_once)


def test_a_schedule_that_ends_with_the_rounds_is_refused_and_another_goes_on(
    scenario, play
) -> None:
    def local(**schedule: object) -> dict[str, object]:
        return {"optimizer": {"use": "sgd"}, "schedule": schedule}

    cosine = play(scenario(rounds=3, local=local(use="cosine"))).folder
    text = cosine.scenario.read_text()
    with pytest.raises(RunFolderError, match=r"local.schedule: cosine ends with round 3.*round 2"):
        resume_run(cosine, ignore, rounds=5)
    assert cosine.result() is not None
    assert cosine.scenario.read_text() == text
    for free in ({"use": "step", "every": 2}, {"use": "cosine", "length": 9}):
        longer = play(scenario(rounds=3, local=local(**free))).folder
        at_once = play(scenario(rounds=5, local=local(**free))).folder
        resume_run(longer, ignore, rounds=5)
        assert_same(longer, at_once)


@pytest.mark.parametrize(
    ("privacy", "message"),
    [
        ({"noise_multiplier": 1.0}, "promise of .* was made for 2 rounds, and 4 would come to eps"),
        ({"budget": {"epsilon": 8.0}}, "noise of .* was worked out for 2 rounds"),
        ({"noise_multiplier": 1.0, "budget": {"epsilon": 6.0}}, "is epsilon 6, and 4 rounds"),
    ],
)
def test_a_promise_that_does_not_cover_more_rounds_refuses_them(
    privacy, message, scenario, play
) -> None:
    private = {"unit": "client", "clip": 1.0, "delta": 1e-3, "rng": "simulation", **privacy}
    of = scenario(rounds=2, privacy=private, clients={"count": 6, "sampler": "poisson"})
    folder = play(of).folder
    before = sorted(path.name for path in folder.path.iterdir())
    with pytest.raises(RunFolderError, match=message):
        resume_run(folder, ignore, rounds=4)
    assert folder.result() is not None
    assert sorted(path.name for path in folder.path.iterdir()) == before


def test_a_budget_that_covers_more_rounds_lets_a_private_run_go_on(scenario, play) -> None:
    private = {
        "unit": "client",
        "clip": 1.0,
        "delta": 1e-3,
        "rng": "simulation",
        "noise_multiplier": 2.0,
        "budget": {"epsilon": 50.0},
    }
    clients = {"count": 6, "per_round": 3, "sampler": "poisson"}
    longer = play(scenario(rounds=2, privacy=private, clients=clients)).folder
    resume_run(longer, ignore, rounds=4)
    assert_same(longer, play(scenario(rounds=4, privacy=private, clients=clients)).folder)
    ledger = (longer.path / "privacy.jsonl").read_text().splitlines()
    assert len(ledger) == 5


def test_what_cannot_be_changed_is_said_on_the_command_line(
    scenario, play, capsys, tmp_path
) -> None:
    folder = play(scenario(rounds=3)).folder
    run = str(folder.path)
    assert main(["resume", run, "--set", "rounds=2"]) == 2
    assert "3 are done: rounds can only be raised" in capsys.readouterr().err
    assert main(["resume", run, "--set", "local.lr=0.5"]) == 2
    assert "resume changes rounds alone, not 'local.lr'" in capsys.readouterr().err
    assert main(["resume", run, "--set", "rounds=many"]) == 2
    assert "count of rounds, not 'many'" in capsys.readouterr().err
    assert main(["resume", run, "--set", "rounds=3"]) == 0
    assert "is finished" in capsys.readouterr().err
    assert main(["resume", run, "--set", "rounds=4"]) == 0
    assert len(folder.rounds()) == 4
    assert "3 rounds become 4" in (folder.path / "events.log").read_text()


def test_a_cell_of_a_study_keeps_its_rounds(scenario, play, tmp_path: Path) -> None:
    cell = RunFolder(tmp_path / "study" / "cells" / "a")
    shutil.copytree(play(scenario()).folder.path, cell.path)
    (tmp_path / "study" / "study.lock.json").write_text(json.dumps({}))
    with pytest.raises(RunFolderError, match="a cell of the study study"):
        resume_run(cell, ignore, rounds=5)
