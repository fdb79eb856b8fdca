"""The write-ahead ledger of a run: every charge is on disk before the release it pays for.

``privacy.jsonl`` holds one line per charge.  Each line carries the hash of the line before and
of itself, so an edit anywhere breaks the chain; a checkpoint keeps the length and the last hash,
so a ledger that was cut short or replaced by an older copy is found out.  A line without its
newline was never paid for: nothing was released after it, and it is removed.

What it cannot see: a folder whose ledger, checkpoints and rounds were all set back together.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedsim.errors import RunFolderError
from fedsim.runlog import files

__all__ = ["NAME", "LedgerCharge", "LedgerHead", "PrivacyLedger"]

NAME = "privacy.jsonl"
START = "0" * 64
"""What the first line has for the hash of the line before."""


@dataclass(frozen=True)
class LedgerCharge:
    """One release that is paid for, whether or not it came to be."""

    round: int
    attempt: int
    """From 1; a further one where the round had to be done again with other noise."""
    clients: tuple[int, ...] | None = None
    """Who is charged; None: everybody, as under central privacy."""
    digest: str = ""
    """Of what the release is a function of, in simulation: an equal one is a replay."""


@dataclass(frozen=True)
class LedgerHead:
    """Where a ledger ends: what a checkpoint remembers of it."""

    length: int
    sha256: str


class PrivacyLedger:
    """The charges of one run, in memory and on the disk."""

    def __init__(self, path: Path, promise: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Use :meth:`open`."""
        self.path = path
        self.promise = dict(promise)
        """What was promised when the run began."""
        self.charges: list[LedgerCharge] = []
        self._hashes: list[str] = []
        self._by_round: dict[int, list[LedgerCharge]] = {}
        for number, line in enumerate(lines, 1):
            self._read(number, line)

    @classmethod
    def open(cls, path: Path, promise: Mapping[str, Any]) -> PrivacyLedger:
        """Open the ledger at ``path``, or begin it with ``promise``.

        Raises:
            RunFolderError: if it was edited, or begins with another promise.
            RunError: if the disk refuses it.
        """
        existing = cls.read(path)
        if path.is_file() and (torn := path.read_bytes().rpartition(b"\n"))[2]:
            files.write(path, torn[0] + torn[1])
        if existing is None:
            ledger = cls(path, promise, [])
            ledger._append({"promise": dict(promise)})
            return ledger
        expected = json.loads(json.dumps(promise))
        if existing.promise != expected:
            keys = {
                k for k in existing.promise | expected if existing.promise.get(k) != expected.get(k)
            }
            raise RunFolderError(
                f"{path} was started with other privacy settings: {', '.join(sorted(keys))} "
                "differ; start a new run"
            )
        return existing

    @classmethod
    def read(cls, path: Path) -> PrivacyLedger | None:
        """Return the ledger at ``path`` as it is, or None where there is none, or no whole line.

        Raises:
            RunFolderError: if it was edited.
        """
        if not path.is_file():
            return None
        # What follows the last newline was never finished, so nothing was released for it.
        lines = path.read_bytes().split(b"\n")[:-1]
        return cls(path, {}, [line.decode(errors="replace") for line in lines]) if lines else None

    @property
    def head(self) -> LedgerHead:
        """Where it ends now."""
        return LedgerHead(len(self._hashes), self._hashes[-1])

    def verify(self, since: LedgerHead | None, rounds: Sequence[int]) -> None:
        """Check that nothing was taken away since a checkpoint and a record of rounds were made.

        Args:
            since: what the checkpoint remembers; None where there is none.
            rounds: those that ``rounds.jsonl`` says are finished.

        Raises:
            RunFolderError: if the ledger goes back in time.
        """
        if since is not None:
            is_there = len(self._hashes) >= since.length
            if not is_there or self._hashes[since.length - 1] != since.sha256:
                raise RunFolderError(
                    f"{self.path} is older than the checkpoint, which lists {since.length} lines "
                    "that are not in it; what was spent since cannot be known"
                )
        if unpaid := [number for number in rounds if number not in self._by_round]:
            raise RunFolderError(
                f"{self.path} is older than the run: round {unpaid[0]} is finished and not charged"
            )

    def of_round(self, number: int) -> list[LedgerCharge]:
        """Return the charges of one round."""
        return self._by_round.get(number, [])

    def charge(self, charge: LedgerCharge) -> None:
        """Add a charge; it is on the disk when this returns.

        Raises:
            RunError: if the disk refuses it: then nothing may be released.
        """
        entry: dict[str, Any] = {"round": charge.round, "attempt": charge.attempt}
        if charge.clients is not None:
            entry["clients"] = list(charge.clients)
        if charge.digest:
            entry["digest"] = charge.digest
        self._append(entry)

    def _append(self, entry: Mapping[str, Any]) -> None:
        previous = self._hashes[-1] if self._hashes else START
        body = json.dumps({"previous": previous, **entry}, sort_keys=True, allow_nan=False)
        line = json.dumps({**json.loads(body), "sha256": _hash(body)}, sort_keys=True)
        files.append(self.path, line)
        self._read(len(self._hashes) + 1, line)

    def _read(self, number: int, line: str) -> None:
        """Take one line over, if it follows from the one before."""
        try:
            entry: dict[str, Any] = json.loads(line)
            claimed = entry.pop("sha256")
            computed = _hash(json.dumps(entry, sort_keys=True, allow_nan=False))
            previous = self._hashes[-1] if self._hashes else START
            if computed != claimed or entry.pop("previous") != previous:
                raise ValueError("its hash is not that of what it says, or of the line before")
            if number == 1:
                self.promise = entry["promise"]
            else:
                self._take(entry)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise RunFolderError(
                f"{self.path}, line {number} was changed or damaged: {error}"
            ) from error
        self._hashes.append(claimed)

    def _take(self, entry: Mapping[str, Any]) -> None:
        clients = tuple(entry["clients"]) if "clients" in entry else None
        charge = LedgerCharge(entry["round"], entry["attempt"], clients, entry.get("digest", ""))
        self.charges.append(charge)
        self._by_round.setdefault(charge.round, []).append(charge)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
