"""Which rounds are evaluated, and a run without evaluations that only a former end was due."""

from __future__ import annotations

from dataclasses import replace

from fedsim.runlog import clients
from fedsim.runlog.events import RoundRecord
from fedsim.runlog.rounds import encode
from fedsim.runlog.run_folder import RunFolder
from fedsim.schema.scenario import Scenario

__all__ = ["is_due", "truncate"]


def is_due(number: int, every: int, rounds: int) -> bool:
    """Return whether what happens ``every`` so many rounds, 0: never, is due in one of them.

    Args:
        number: of the round, from 1.
        every: rounds between two times; the last round is always one.
        rounds: how many there are.
    """
    return every > 0 and (number == rounds or number % every == 0)


def truncate(folder: RunFolder, done: int, scenario: Scenario) -> None:
    """Forget the rounds after ``done``, and evaluations that were due at a former last round.

    A run that was given more rounds is then as if it had had them from the start.

    Raises:
        RunFolderError: if the folder's rounds are damaged.
        RunError: if the disk is full.
    """
    folder.truncate_rounds(done)
    before = folder.rounds()
    after = [_as_due(record, folder, scenario) for record in before]
    if after != before:
        folder.write("rounds.jsonl", "".join(encode(record) + "\n" for record in after))
    every, rounds = scenario.evaluation.clients, scenario.rounds
    clients.keep(folder.path / "clients.parquet", lambda number: is_due(number, every, rounds))


def _as_due(record: RoundRecord, folder: RunFolder, scenario: Scenario) -> RoundRecord:
    evaluation, rounds = scenario.evaluation, scenario.rounds
    if record.metrics and not is_due(record.round, evaluation.every, rounds):
        record = replace(record, metrics={}, domains={})
    if record.clients and not is_due(record.round, evaluation.clients, rounds):
        up, down = clients.traffic(folder.path / "clients.parquet", record.round)
        record = replace(
            record, clients={}, bytes_up=record.bytes_up - up, bytes_down=record.bytes_down - down
        )
    return record
