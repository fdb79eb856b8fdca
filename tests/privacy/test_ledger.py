"""The ledger never knows of less than was released, whenever the process dies."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedsim.errors import RunFolderError
from fedsim.privacy.ledger import LedgerCharge, LedgerHead, PrivacyLedger

PROMISE = {"unit": "client", "clip": 1.0}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "privacy.jsonl"


def filled(path: Path, charges: int = 4) -> PrivacyLedger:
    ledger = PrivacyLedger.open(path, PROMISE)
    for number in range(1, charges + 1):
        ledger.charge(LedgerCharge(number, 1, digest=f"{number:064x}"))
    return ledger


def test_what_is_charged_is_read_again(path: Path) -> None:
    ledger = filled(path)
    ledger.charge(LedgerCharge(5, 2, clients=(0, 3)))
    again = PrivacyLedger.open(path, PROMISE)
    assert again.charges == ledger.charges
    assert again.head == ledger.head
    assert again.of_round(5) == [LedgerCharge(5, 2, (0, 3))]


def test_a_charge_is_on_the_disk_before_anything_else_happens(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = filled(path, 0)
    synced: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        synced.append(path.stat().st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    ledger.charge(LedgerCharge(1, 1))
    assert synced == [path.stat().st_size]


@pytest.mark.parametrize("line", range(5))
def test_an_edit_of_any_line_is_found(path: Path, line: int) -> None:
    filled(path)
    lines = path.read_text().splitlines()
    lines[line] = lines[line].replace('"round": ', '"round": 1').replace("client", "record")
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunFolderError, match=f"line {line + 1} was changed"):
        PrivacyLedger.open(path, PROMISE)


@pytest.mark.parametrize("line", range(4))
def test_a_line_taken_out_of_the_middle_is_found(path: Path, line: int) -> None:
    filled(path)
    lines = path.read_text().splitlines()
    del lines[line]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(RunFolderError, match="was changed or damaged"):
        PrivacyLedger.open(path, PROMISE)


def test_a_line_that_is_no_json_is_found(path: Path) -> None:
    filled(path)
    with path.open("ab") as file:
        file.write(b"\xff\xfe{}\n")
    with pytest.raises(RunFolderError, match="line 6"):
        PrivacyLedger.open(path, PROMISE)


def test_a_ledger_that_was_cut_short_goes_back_in_time(path: Path) -> None:
    head = filled(path).head
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:-1]) + "\n")
    short = PrivacyLedger.open(path, PROMISE)
    with pytest.raises(RunFolderError, match="is older than the"):
        short.verify(head, [])
    with pytest.raises(RunFolderError, match="round 4 is finished and not charged"):
        short.verify(None, [1, 2, 3, 4])


def test_another_ledger_of_the_same_length_goes_back_in_time(path: Path, tmp_path: Path) -> None:
    head = filled(path).head
    other = PrivacyLedger.open(tmp_path / "other.jsonl", PROMISE)
    for number in range(1, 5):
        other.charge(LedgerCharge(number, 1))
    with pytest.raises(RunFolderError, match="is older than the"):
        other.verify(head, [])


def test_a_ledger_that_is_gone_goes_back_in_time(path: Path) -> None:
    head = filled(path).head
    path.unlink()
    with pytest.raises(RunFolderError, match="is older than the"):
        PrivacyLedger.open(path, PROMISE).verify(head, [])


def test_more_than_the_checkpoint_knows_is_right(path: Path) -> None:
    ledger = filled(path, 2)
    head = ledger.head
    ledger.charge(LedgerCharge(3, 1))
    PrivacyLedger.open(path, PROMISE).verify(head, [1, 2])


def test_another_promise_is_refused(path: Path) -> None:
    filled(path)
    with pytest.raises(RunFolderError, match="other privacy settings: clip differ"):
        PrivacyLedger.open(path, PROMISE | {"clip": 2.0})


class Killed(BaseException):
    """Stands for the death of the process."""


def write_and_die(path: Path, line: str, survived: int) -> None:
    """Write as much of a line as the disk got before the machine died."""
    with path.open("ab") as file:
        file.write((line.encode() + b"\n")[:survived])
    raise Killed


@pytest.mark.parametrize("seed", range(200))
def test_killed_at_any_byte_the_ledger_is_at_least_what_was_released(
    path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedsim.runlog import files

    generator = np.random.default_rng(seed)
    real: Callable[[Path, str], None] = files.append
    released: list[tuple[int, int]] = []
    done = 0
    for _ in range(4):  # lives of the process
        steps_left = int(generator.integers(0, 12))
        torn = bool(generator.integers(2))

        def append(path: Path, line: str, torn: bool = torn) -> None:
            nonlocal steps_left
            steps_left -= 1
            if steps_left < 0:
                write_and_die(path, line, int(generator.integers(0, len(line) + 1)) if torn else 0)
            real(path, line)

        monkeypatch.setattr(files, "append", append)
        try:
            ledger = PrivacyLedger.open(path, PROMISE)
            for number in range(done + 1, 9):
                attempt = len(ledger.of_round(number)) + 1
                ledger.charge(LedgerCharge(number, attempt))
                steps_left -= 1
                if steps_left < 0:
                    raise Killed  # charged, and nothing was released
                released.append((number, attempt))
                steps_left -= 1
                if steps_left < 0:
                    raise Killed  # released, and the round was never recorded
                done = number
        except Killed:
            pass
        monkeypatch.setattr(files, "append", real)
        found = PrivacyLedger.open(path, PROMISE)
        charged = {(charge.round, charge.attempt) for charge in found.charges}
        assert set(released) <= charged
        assert len(released) == len(set(released)), "noise was used twice"
        found.verify(None, list(range(1, done + 1)))


def test_a_torn_line_is_removed_before_the_next_is_written(path: Path) -> None:
    filled(path, 2)
    with path.open("ab") as file:
        file.write(b'{"round": 3, "att')
    ledger = PrivacyLedger.open(path, PROMISE)
    ledger.charge(LedgerCharge(3, 1))
    assert [charge.round for charge in PrivacyLedger.open(path, PROMISE).charges] == [1, 2, 3]


def test_every_line_is_plain_json(path: Path) -> None:
    filled(path)
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry.get("round") for entry in entries] == [None, 1, 2, 3, 4]
    assert LedgerHead(**vars(filled(path, 0).head)).length == 5
