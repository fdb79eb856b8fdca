"""Tuning: the same budget for every strategy, on validation parts, through whatever kills it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fedsim.analysis.collect import collect
from fedsim.errors import StudyIncomplete
from fedsim.report.html import render
from fedsim.report.page import page_of
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import StudyLedger
from fedsim.scenario.load import load
from fedsim.scenario.study_file import load_study
from fedsim.study.execution import begin, go_on
from fedsim.study.plan import plan_study
from fedsim.study.search import propose

Space = Mapping[str, Mapping[str, Any]]
pytest.importorskip("optuna", reason="the extra `tune` is not installed")

TUNE = (
    "set: {data.holdout.client_val: 20%, clients.count: 3}\nexclude: [{skew: mild}]\n"
    "tune: {space: {local.lr: {log: [0.001, 1]}, strategy.mu: {choice: [0.1, 1]}},"
    " trials: 3, rounds: 2, seeds: 2}\n"
)
STRATEGIES = "[fedavg, fedprox]"


def page(folder: Path) -> str:
    return render(page_of(collect([folder])))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_study) -> Path:
    """A finished study with a search for each of two strategies."""
    folder = tmp_path_factory.mktemp("whole")
    begin(load_study(write_study(folder, STRATEGIES, "[1, 2, 3]", TUNE)), folder / "run")
    go_on(folder / "run", 2, lambda _: None)
    return folder / "run"


def test_every_strategy_has_the_same_number_of_trials_and_takes_the_best(whole: Path) -> None:
    ledger = StudyLedger.read(whole)
    for search in ledger.searches:
        own = [one for one in ledger.trials if one.levels == search.levels]
        assert [(one.trial, one.seed) for one in own] == [(t, s) for t in (1, 2, 3) for s in (1, 2)]
        means = {
            sum(one.score or 0 for one in own if one.trial == t) / 2: own[2 * t - 1].values
            for t in (1, 2, 3)
        }
        cells = [one for one in ledger.cells if one.levels == search.levels]
        assert [one.values for one in cells] == [means[max(means)]] * 3
        for cell in cells:
            said = RunFolder(whole / "cells" / cell.name).read_scenario()
            assert said["local"]["lr"] == cell.values["local.lr"]
    assert [len(search.space) for search in ledger.searches] == [1, 2]
    first = [one.values["local.lr"] for one in ledger.trials if one.trial == 1]
    assert len(set(first)) == 1  # searches begin with the same draws


def test_a_score_is_the_accuracy_on_the_clients_validation_parts(whole: Path) -> None:
    for trial in StudyLedger.read(whole).trials:
        run = RunFolder(whole / "cells" / trial.name)
        scenario, records = load(run.scenario), run.rounds()
        assert (scenario.rounds, scenario.evaluation.part, len(records)) == (2, "val", 2)
        assert trial.score == records[-1].clients["accuracy"]
        held = run.read_json("partition.json")
        assert 0 < records[-1].clients["examples"] < sum(one["examples"] for one in held["clients"])


def test_the_plan_counts_the_trials(whole: Path, tmp_path: Path, write_study) -> None:
    study = load_study(write_study(tmp_path, STRATEGIES, "[1, 2, 3]", TUNE))
    plan = plan_study(study)
    assert (plan.runs, plan.trials) == (6, 2 * 3 * 2)
    assert plan.turns == 6 * 3 * 3 + 12 * 2 * 3


def test_the_page_shows_every_trial_and_what_was_taken(whole: Path) -> None:
    text = page(whole)
    assert "<h2>How parameters were chosen</h2>" in text
    ledger = StudyLedger.read(whole)
    for cell in ledger.cells:
        assert f"<code>local.lr: {cell.values['local.lr']}</code>" in text
    found = page_of(collect([whole]))
    assert [one.name for one in found.tuning] == ["tuning-1-local-lr", "tuning-1-strategy-mu"]
    assert not any(trial.name in text for trial in ledger.trials)  # they are no runs to compare
    assert "mathdefault" not in text


def test_a_tuned_study_that_is_killed_ends_as_if_it_had_not_been(
    whole: Path, tmp_path: Path, started: Callable[..., subprocess.Popen[bytes]], write_study
) -> None:
    file = write_study(tmp_path, STRATEGIES, "[1, 2, 3]", TUNE)
    killed = tmp_path / "killed"
    study = started("run", str(file), "--run-dir", str(killed), "--jobs", "2")
    for over in (3, 13):  # among the trials, and among the cells
        wait_for_runs(killed, over)
        before = StudyLedger.read(killed)
        os.kill(study.pid, signal.SIGKILL)
        study.wait(60)
        study = started("resume", str(killed), "--jobs", "2")
    assert study.wait(240) == 0
    ledger, other = StudyLedger.read(killed), StudyLedger.read(whole)
    assert [(one.name, one.values, one.score) for one in ledger.runs] == [
        (one.name, one.values, one.score) for one in other.runs
    ]
    finished = [one for one in before.runs if one.status == "finished"]
    assert all(ledger.line(one.name).attempts == one.attempts for one in finished)
    assert page(killed) == page(whole)


def wait_for_runs(folder: Path, many: int) -> None:
    """Wait until so many runs of the study are over."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        if (folder / "study.lock.json").is_file():
            text = (folder / "study.lock.json").read_text()
            if len(re.findall(r'"status": "finished"', text)) >= many:
                return
        time.sleep(0.02)
    raise TimeoutError("the runs are not over")


def test_a_search_without_a_finished_trial_fails_its_cells_alone(tmp_path, write_study) -> None:
    folder = tmp_path / "run"
    few = TUNE.replace("trials: 3", "trials: 1").replace("seeds: 2", "seeds: 1")
    few = few.replace("strategy.mu: {choice: [0.1, 1]}", "local.momentum: {choice: [0.0, 0.5]}")
    begin(load_study(write_study(tmp_path, "[./broken.py:Fails, fedavg]", "[1]", few)), folder)
    for again in (False, True):
        with pytest.raises(StudyIncomplete, match="1 of 2 cells failed"):
            go_on(folder, 1, lambda _: None, retry_failed=again)
    failed, fine = StudyLedger.read(folder).cells
    assert (failed.why, failed.attempts) == ("no trial of its search finished", 0)
    assert fine.status == "finished"
    assert "1 failed" in page(folder)


SPACE: Space = {"local.lr": {"log": [0.001, 1]}, "strategy.kind": {"choice": ["a", "b"]}}


def test_a_proposal_follows_from_seed_and_history_alone() -> None:
    tried = [({"local.lr": 0.1 / k, "strategy.kind": "a"}, 0.1 * k) for k in range(1, 13)]
    assert propose(SPACE, 7, tried) == propose(SPACE, 7, tried)
    assert propose(SPACE, 7, tried) != propose(SPACE, 8, tried)


def test_a_proposal_stays_inside_its_span_and_is_short() -> None:
    spans: Space = {
        "x": {"log": [0.12345678, 0.12345679]},
        "n": {"int": [3, 4]},
        "u": {"uniform": [0, 1]},
    }
    for seed in range(20):
        found = propose(spans, seed, [])
        assert 0.12345678 <= found["x"] <= 0.12345679
        assert found["n"] in (3, 4)
        assert len(str(found["u"])) <= 9


def test_the_search_learns_where_it_is_good() -> None:
    tried: list[tuple[dict[str, float], float]] = []
    for _ in range(40):
        found = propose({"x": {"uniform": [0, 1]}}, 1, tried)
        tried.append((found, -((found["x"] - 0.8) ** 2)))
    late = [values["x"] for values, _ in tried[20:]]
    assert sum(abs(x - 0.8) < 0.15 for x in late) > 12
