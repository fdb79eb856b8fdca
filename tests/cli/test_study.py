"""A study on disk is shown cell by cell, and its keys are explained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.runlog import lock
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import StudyEntry, StudyLedger

SCENARIO = "name: quick\nrounds: 9\nstrategy: {use: fedavg}\n"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A study with one cell of every kind."""
    entries = (
        StudyEntry("avg-s1", {"strategy": "avg"}, 1, "", "finished", 1),
        StudyEntry("bad-s1", {"strategy": "bad"}, 1, "", "failed", 1, "RunError: no luck"),
        StudyEntry("prox-s1", {"strategy": "prox"}, 1, "", "started", 1),
        StudyEntry("adam-s1", {"strategy": "adam"}, 1, ""),
    )
    axes = {"strategy": ("avg", "bad", "prox", "adam")}
    StudyLedger("four", "", axes, {"baseline": "avg"}, entries).write(tmp_path)
    for cell, rounds in (("avg-s1", 9), ("bad-s1", 0), ("prox-s1", 4)):
        run = RunFolder.create(tmp_path / "cells" / cell)
        run.write("scenario.resolved.yaml", SCENARIO)
        for number in range(1, rounds + 1):
            run.append_round(
                RoundRecord(
                    number, {"accuracy": number / 10, "loss": 0.1}, (), (), {}, {}, 1, 2, 0.5
                )
            )
    return tmp_path


def test_show_lists_the_cells_and_why_they_failed(study: Path, capsys) -> None:
    assert main(["show", str(study)]) == 0
    out, err = capsys.readouterr()
    head, _, *table, why = out.splitlines()
    assert head == "four  1 finished · 1 failed · 1 interrupted · 1 waiting"
    assert [line.split() for line in table] == [
        ["cell", "status", "rounds", "accuracy"],
        ["avg-s1", "finished", "9/9", "0.900"],
        ["bad-s1", "failed", "0/9", "-"],
        ["prox-s1", "interrupted", "4/9", "0.400"],
        ["adam-s1", "waiting", "-", "-"],
    ]
    assert why == "failed  bad-s1: RunError: no luck"
    assert f"next: fedsim resume {study}" in err


def test_a_study_that_is_over_leads_to_its_report(study: Path, capsys) -> None:
    ledger = StudyLedger.read(study)
    for cell in ("prox-s1", "adam-s1"):
        ledger = ledger.changed(cell, status="finished")
    ledger.write(study)
    main(["show", str(study)])
    assert f"next: fedsim report {study} -o report.html" in capsys.readouterr().err


def test_a_study_at_work_says_which_cell_is_running(study: Path, capsys) -> None:
    with lock.hold(study):
        main(["show", str(study), "--format", "json"])
    cells = {cell["name"]: cell for cell in json.loads(capsys.readouterr().out)["cells"]}
    assert (cells["prox-s1"]["status"], cells["prox-s1"]["done"]) == ("running", 4)


def test_the_resolved_scenarios_of_a_study_are_files(study: Path, capsys) -> None:
    assert main(["show", str(study), "--resolved"]) == 2
    assert str(study / "scenarios") in capsys.readouterr().err


def test_a_key_of_a_study_is_explained_and_its_schema_printed(capsys) -> None:
    assert main(["explain", "report.test", "--kind", "study"]) == 0
    assert capsys.readouterr().out.startswith("report.test: The paired test")
    assert main(["schema", "--kind", "study"]) == 0
    assert "axes" in json.loads(capsys.readouterr().out)["properties"]
