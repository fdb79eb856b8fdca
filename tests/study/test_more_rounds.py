"""A study that is given more rounds ends like one that had them from the start, or stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.cli.app import main
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.study_ledger import StudyLedger
from fedsim.scenario.study_file import load_study
from fedsim.study.execution import begin, go_on
from fedsim.study.more_rounds import prolong_study


def hashes(study: Path) -> dict[str, tuple[str, str]]:
    found = {}
    for cell in StudyLedger.read(study).cells:
        result = RunFolder(study / "cells" / cell.name).result()
        assert result is not None
        found[cell.name] = (result.weights_sha256, result.metrics_sha256)
    return found


def play(folder: Path, file: Path, *sets: str) -> Path:
    begin(load_study(file, list(sets)), folder)
    go_on(folder, 1, lambda _: None)
    return folder


def test_all_cells_go_on_together(tmp_path: Path, write_study, capsys) -> None:
    file = write_study(tmp_path, "[fedavg, scaffold]", "[1]")
    at_once = play(tmp_path / "at once", file, "rounds=5")
    longer = play(tmp_path / "longer", file)
    cell = StudyLedger.read(longer).cells[0].name
    assert main(["resume", str(longer / "cells" / cell), "--set", "rounds=5"]) == 2
    assert "is a cell of the study longer" in capsys.readouterr().err
    assert main(["resume", str(longer), "--set", "rounds=5"]) == 0
    assert "4 cells: 3 rounds become 5" in capsys.readouterr().err
    assert hashes(longer) == hashes(at_once)
    ledgers = [StudyLedger.read(study) for study in (longer, at_once)]
    assert [c.scenario_sha256 for c in ledgers[0].cells] == [
        c.scenario_sha256 for c in ledgers[1].cells
    ]
    assert prolong_study(longer, 5, ()) == []
    assert main(["resume", str(longer), "--set", "rounds=4"]) == 2
    assert "rounds can only be raised" in capsys.readouterr().err


def test_a_study_that_was_cut_off_while_it_was_prolonged_is_prolonged(
    tmp_path: Path, write_study
) -> None:
    file = write_study(tmp_path, "[fedavg, fedadam]", "[1]")
    at_once = play(tmp_path / "at once", file, "rounds=4")
    longer = play(tmp_path / "longer", file)
    before = StudyLedger.read(longer)
    first = before.cells[0].name
    prolong_study(longer, 4, ())
    # As if it had come no further than the first cell's folder.
    shorter = tmp_path / "shorter"
    play(shorter, file)
    (longer / "cells" / first).rename(tmp_path / "first")
    (shorter / "cells" / first).rename(tmp_path / "old first")
    (tmp_path / "first").rename(shorter / "cells" / first)
    prolong_study(shorter, 4, ())
    go_on(shorter, 1, lambda _: None)
    assert hashes(shorter) == hashes(at_once)


def test_nothing_is_changed_where_one_cell_cannot_have_more(
    tmp_path: Path, write_study, capsys
) -> None:
    cosine = "local.schedule={use: cosine, over: rounds}"
    folder = play(tmp_path / "run", write_study(tmp_path, "[fedavg]", "[1]"), cosine)
    before = hashes(folder)
    assert main(["resume", str(folder), "--set", "rounds=5"]) == 2
    assert "local.schedule: cosine ends with round 3" in capsys.readouterr().err
    assert hashes(folder) == before
    assert StudyLedger.read(folder).counts()["finished"] == len(before)


def test_cells_that_differ_in_rounds_keep_them(tmp_path: Path, write_study) -> None:
    folder = tmp_path / "run"
    begin(load_study(write_study(tmp_path, "[fedavg]", "[1]"), []), folder)
    scenario = sorted((folder / "scenarios").iterdir())[0]
    scenario.write_text(scenario.read_text().replace("rounds: 3", "rounds: 2"))
    with pytest.raises(Exception, match="have 2, 3 rounds: they differ by design"):
        prolong_study(folder, 5, ())
