"""A run folder is whole at any moment, used by one process, and found by its name."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from fedsim.errors import RunError, RunFolderError
from fedsim.runlog import files
from fedsim.runlog.clients import ClientRow
from fedsim.runlog.events import Dropped, Result, RoundRecord
from fedsim.runlog.rounds import decode, encode, metrics_sha256
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.run_list import runs_under

RECORD = RoundRecord(
    1,
    {"accuracy": 1 / 3, "loss": 0.1},
    (0, 3),
    (Dropped(3, "train", "NaN in w"),),
    {"loss": 0.7},
    {},
    10,
    20,
    0.5,
)
RESULT = Result(
    "fedavg",
    2,
    {"accuracy": 0.9, "loss": 0.3},
    "ab",
    {"local": {"accuracy": 0.7}},
    20,
    40,
    1.0,
    {},
    2,
    "cd",
)


def started(parent: Path, name: str = "quick") -> RunFolder:
    folder = RunFolder.new(parent, name, "a1b2c3d4")
    folder.write("scenario.resolved.yaml", "name: quick\n")
    return folder


def row(round: int, client: int) -> ClientRow:
    return ClientRow(round, client, "", 5, {"accuracy": 0.5, "loss": 0.7}, 0.1, 8, 8)


def test_a_record_comes_back_to_the_last_bit() -> None:
    assert decode(encode(RECORD)) == RECORD


def test_a_nan_metric_is_null_in_the_file_and_nan_again_in_memory() -> None:
    line = encode(
        replace(RECORD, metrics={"accuracy": 0.5, "loss": math.nan}, train={"loss": math.inf})
    )
    assert json.loads(line)["train"] == {"loss": None}
    assert math.isnan(decode(line).metrics["loss"])
    assert math.isnan(decode(line).train["loss"])
    assert encode(decode(line)) == line


def test_a_record_of_another_task_comes_back_with_all_its_metrics() -> None:
    line = encode(regression := replace(RECORD, metrics={"rmse": 53.5, "r2": math.nan}))
    assert json.loads(line)["accuracy"] is None
    assert decode(line).metrics["rmse"] == 53.5
    assert math.isnan(decode(line).metrics["r2"])
    assert metrics_sha256([regression]) != metrics_sha256([RECORD])
    assert decode(encode(replace(RECORD, metrics={}))).metrics == {}


def test_the_metrics_hash_sees_numbers_and_neither_times_nor_bytes() -> None:
    other = replace(RECORD, seconds=9.0, bytes_up=0, dropped=())
    assert metrics_sha256([RECORD]) == metrics_sha256([other])
    nudged = replace(RECORD, metrics={"accuracy": math.nextafter(1 / 3, 1), "loss": 0.1})
    assert metrics_sha256([RECORD]) != metrics_sha256([nudged])


def test_a_torn_last_line_is_left_out_and_forgotten_on_resume(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for round in (1, 2, 3):
        folder.append_round(replace(RECORD, round=round))
    path = folder.path / "rounds.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    assert [record.round for record in folder.rounds()] == [1, 2]
    folder.truncate_rounds(after=1)
    folder.append_round(replace(RECORD, round=2))
    assert [record.round for record in folder.rounds()] == [1, 2]


def test_a_damaged_line_in_the_middle_is_said(tmp_path: Path) -> None:
    folder = started(tmp_path)
    (folder.path / "rounds.jsonl").write_text('{"round": 1\n' + encode(RECORD) + "\n")
    with pytest.raises(RunFolderError, match=r"rounds\.jsonl is damaged"):
        folder.rounds()
    assert folder.status() == "damaged"


def test_the_status_follows_from_the_files(tmp_path: Path) -> None:
    folder = started(tmp_path)
    assert folder.status() == "interrupted"
    with folder.lock():
        assert folder.status() == "running"
    folder.write_result(RESULT)
    assert folder.result() == RESULT
    assert folder.status() == "finished"
    (folder.path / "result.json").write_text("{")
    assert folder.status() == "damaged"


def test_a_second_process_is_refused_with_the_first_ones_number(tmp_path: Path) -> None:
    folder = started(tmp_path)
    script = (
        "import sys; from pathlib import Path; from fedsim.runlog.run_folder import RunFolder\n"
        "with RunFolder.open(Path(sys.argv[1])).lock(): pass"
    )
    other = [sys.executable, "-c", script, str(folder.path)]
    with folder.lock():
        done = subprocess.run(other, capture_output=True, text=True)
    assert f"in use by process {os.getpid()}" in done.stderr
    assert subprocess.run(other).returncode == 0


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    folder = started(tmp_path)
    script = (
        "import os, sys; from pathlib import Path; from fedsim.runlog.run_folder import RunFolder\n"
        "with RunFolder.open(Path(sys.argv[1])).lock(): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder.path)])
    assert done.returncode == -9
    with folder.lock():
        pass


def test_create_takes_an_empty_folder_and_no_other(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    folder = RunFolder.create(tmp_path / "empty")
    with folder.lock():
        pass
    assert RunFolder.create(tmp_path / "empty") == folder
    folder.write("scenario.resolved.yaml", "")
    with pytest.raises(RunFolderError, match="fedsim resume"):
        RunFolder.create(tmp_path / "empty")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(RunFolderError, match="not empty"):
        RunFolder.create(tmp_path / "mine")


def test_new_points_latest_to_the_newest(tmp_path: Path) -> None:
    first, second = started(tmp_path), started(tmp_path)
    assert first.path != second.path
    assert "a1b2c3" in second.path.name
    assert RunFolder.open(tmp_path / "quick" / "latest") == second
    assert RunFolder.open(tmp_path / "quick") == second
    assert runs_under(tmp_path) == runs_under(tmp_path / "quick") == [first, second]


def test_an_absent_run_names_the_nearest(tmp_path: Path) -> None:
    folder = started(tmp_path)
    with pytest.raises(RunFolderError, match=f"does not exist; nearest: {folder.path}"):
        RunFolder.open(folder.path.with_name(folder.path.name[:-1]))
    (folder.path / "data").mkdir()
    with pytest.raises(RunFolderError, match="start one with: fedsim run"):
        RunFolder.open(tmp_path / "quick" / "latest" / "data" / "absent")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    files.write(path, {"a": 1})
    with contextlib.suppress(KeyError), files.replace(path) as temporary:
        temporary.write_text("half")
        raise KeyError
    assert json.loads(path.read_text()) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_refused_write_names_the_file_and_its_size(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"absent/file \(5 bytes\): No such file"):
        files.write(tmp_path / "absent" / "file", b"12345")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_an_error_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunError, match="No space left on device"):
        RunFolder(tmp_path).append_round(RECORD)


def test_a_round_that_is_redone_is_in_the_clients_file_once(tmp_path: Path) -> None:
    folder = started(tmp_path)
    for round in (1, 2, 3, 2):
        folder.append_clients([row(round, client) for client in (0, 1)])
    table = pq.read_table(folder.path / "clients.parquet")
    assert table["round"].to_pylist() == [1, 1, 2, 2]
    assert table["client"].to_pylist() == [0, 1, 0, 1]
    assert pq.ParquetFile(folder.path / "clients.parquet").num_row_groups <= 2
