"""Running a study: every cell once, whatever kills it; failures are shown and stop nothing."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest

from fedsim.analysis.collect import collect
from fedsim.analysis.compare import compare
from fedsim.cli.app import main
from fedsim.errors import RunFolderError, StudyIncomplete
from fedsim.report.html import render
from fedsim.report.page import page_of
from fedsim.runlog.study_ledger import StudyLedger
from fedsim.scenario.study_file import load_study
from fedsim.study.execution import begin, go_on
from fedsim.study.plan import plan_study


def page(folder: Path) -> str:
    return render(page_of(collect([folder])))


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, write_study) -> Path:
    """A finished study in which one strategy always fails and one always diverges."""
    folder = tmp_path_factory.mktemp("mixed")
    strategies = "[fedavg, {use: fedprox, mu: 0.1}, ./broken.py:Fails, ./broken.py:Diverges]"
    begin(load_study(write_study(folder, strategies, "[1, 2]")), folder / "run")
    with pytest.raises(StudyIncomplete, match="4 of 16 cells failed; the others are finished"):
        go_on(folder / "run", 1, lambda _: None)
    return folder / "run"


def test_a_failed_cell_stops_nothing(mixed: Path) -> None:
    ledger = StudyLedger.read(mixed)
    assert ledger.counts() == {"finished": 12, "failed": 4, "left": 0, "started": 0}
    assert {one.levels["strategy"] for one in ledger.cells if one.status == "failed"} == {
        "broken.py:Fails"
    }
    assert all("mistake" in one.why for one in ledger.cells if one.status == "failed")
    assert {one.attempts for one in ledger.cells} == {1}


def test_failing_and_diverging_strategies_are_shown_as_such(mixed: Path) -> None:
    made = compare(collect([mixed]))
    assert made.place("broken.py:Fails", "mild").states == {"failed": 2}
    assert made.place("broken.py:Diverges", "mild").states == {"diverged": 2}
    assert made.place("broken.py:Diverges", "mild").interval is None
    assert (
        "the loss is not finite from round 1" in made.place("broken.py:Diverges", "mild").reasons[0]
    )
    assert made.place("fedavg", "mild").interval is not None
    text = page(mixed)
    assert "2 of 2 failed" in text
    assert "2 of 2 diverged" in text
    assert "a &lt;b&gt;bold&lt;/b&gt; mistake &amp; more" in text


def test_cells_are_run_folders_like_any_other(mixed: Path, capsys) -> None:
    assert main(["show", str(mixed / "cells" / "fedavg-mild-s1"), "-q"]) == 0
    assert main(["rerun", str(mixed / "cells" / "fedavg-mild-s1"), "--verify", "-q"]) == 0
    assert "accuracy" in capsys.readouterr().out


def test_the_first_rounds_of_a_run_can_be_verified_alone(mixed: Path, capsys) -> None:
    cell = mixed / "cells" / "fedavg-mild-s1"
    assert main(["rerun", str(cell), "--rounds", "2"]) == 2
    assert main(["rerun", str(cell), "--verify", "--rounds", "2", "-q"]) == 0
    rounds = cell / "rounds.jsonl"
    before = rounds.read_text()
    lines = before.splitlines(keepends=True)
    for changed, code in ((1, 4), (2, 0)):  # the third is not looked at
        other = re.sub(r'"accuracy": [\d.]+', '"accuracy": 0.5', lines[changed], count=1)
        rounds.write_text("".join([*lines[:changed], other, *lines[changed + 1 :]]))
        assert main(["rerun", str(cell), "--verify", "--rounds", "2", "-q"]) == code
    rounds.write_text(before)
    assert "round 2 differs" in capsys.readouterr().err.replace("\n", " ")


def test_a_rerun_that_differs_is_an_error(mixed: Path, capsys) -> None:
    cell = mixed / "cells" / "fedavg-mild-s2"
    before = cell.joinpath("result.json").read_text()
    said = json.loads(before)
    cell.joinpath("result.json").write_text(json.dumps(said | {"weights_sha256": "0" * 64}))
    try:
        assert main(["rerun", str(cell), "--verify", "-q"]) == 4
    finally:
        cell.joinpath("result.json").write_text(before)
    assert "weights_sha256 differ" in capsys.readouterr().err.replace("\n", " ")


def test_retrying_runs_the_failed_cells_alone(mixed: Path) -> None:
    news: list[str] = []
    with pytest.raises(StudyIncomplete):
        go_on(mixed, 1, lambda one: news.append(one.news.cell), retry_failed=True)
    assert {name.split("-mild")[0].split("-severe")[0] for name in news} == {"broken.py-Fails"}
    assert {one.attempts for one in StudyLedger.read(mixed).cells if one.status == "failed"} == {2}


def test_a_finished_study_is_not_run_again(mixed: Path, tmp_path: Path, write_study) -> None:
    study = load_study(write_study(tmp_path, "[fedavg]", "[1]"))
    with pytest.raises(RunFolderError, match="holds a study; go on with: fedsim resume"):
        begin(study, mixed)


def test_the_plan_adds_up_what_the_cells_would_take(tmp_path: Path, write_study) -> None:
    study = load_study(write_study(tmp_path, "[fedavg, {use: fedprox, mu: 0.1}]", "[1, 2]"))
    plan = plan_study(study, jobs=2)
    assert (plan.runs, plan.turns, plan.probes, plan.jobs) == (8, 8 * 3 * 4, 2, 2)
    one = load_study(write_study(tmp_path, "[fedavg]", "[1]"))
    assert 2 < plan.bytes_up / plan_study(one).bytes_up < 5


def rounds_of(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob("cells/*/rounds.jsonl"))


def wait_for_rounds(folder: Path, more_than: int) -> None:
    """Wait until the cells in ``folder`` have more rounds on disk."""
    until = time.monotonic() + 120
    while rounds_of(folder) <= more_than:
        if time.monotonic() > until:
            raise TimeoutError("no round was finished")
        time.sleep(0.02)


def settled(folder: Path) -> int:
    """Return how many rounds are on disk once the workers of a killed study have seen its end."""
    before = -1
    while (now := rounds_of(folder)) != before:
        before = now
        time.sleep(0.5)
    return now


def test_a_killed_study_ends_as_if_it_had_not_been(tmp_path, started, write_study) -> None:
    strategies = "[fedavg, {use: fedprox, mu: 0.1}]"
    # So many rounds that it is far from done at each of the kills, on a fast machine too.
    file = write_study(tmp_path, strategies, "[1]", "set: {rounds: 80}\n")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    study = started("run", str(file), "--run-dir", str(killed))
    done = 0
    for how in (signal.SIGKILL, signal.SIGKILL, signal.SIGINT):
        wait_for_rounds(killed, done)
        finished = {one.name for one in StudyLedger.read(killed).cells if one.status == "finished"}
        os.kill(study.pid, how)
        assert study.wait(120) == (-how if how == signal.SIGKILL else 130)
        # What was written until now does not tell that the next process is at work.
        done = settled(killed)
        study = started("resume", str(killed))
    assert study.wait(240) == 0
    ledger = StudyLedger.read(killed)
    assert ledger.counts()["finished"] == 4
    assert all(one.attempts == 1 for one in ledger.cells if one.name in finished)
    for cell in ledger.cells:
        lines = (killed / "cells" / cell.name / "rounds.jsonl").read_text().splitlines()
        assert [json.loads(line)["round"] for line in lines] == list(range(1, 81))
    begin(load_study(file), whole)
    go_on(whole, 2, lambda _: None)
    assert page(killed) == page(whole)


def test_a_worker_that_dies_takes_its_cell_alone(tmp_path: Path, write_study) -> None:
    strategies = "[./broken.py:Dies, fedavg]"
    begin(
        load_study(write_study(tmp_path, strategies, "[1]", "exclude: [{skew: mild}]\n")),
        tmp_path / "run",
    )
    with pytest.raises(StudyIncomplete, match="1 of 2 cells failed"):
        go_on(tmp_path / "run", 1, lambda _: None)
    first, second = StudyLedger.read(tmp_path / "run").cells
    assert (first.status, first.why) == ("failed", "its process ended with exit code 7")
    assert second.status == "finished"
