"""What a client keeps between its turns, in a file: a device's processes come and go.

The file holds the memory after each of the last turns, so that a turn that is done again,
after a crash of the device or of the server, begins where it began the first time.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

from fedsim.runlog import files
from fedsim.wire import Weights

__all__ = ["FileMemory"]

Place = tuple[int, int]
"""A round, and which of its exchanges."""

_FILE = "memory.safetensors"
_RUNS = 8
"""How many runs' memories a device keeps."""


class FileMemory:
    """One run's memory of one client."""

    def __init__(self, folder: Path, run: str, rounds: int) -> None:
        """Use ``folder``/``run``; turns of the last ``rounds`` rounds can be done again."""
        self._folder, self._run, self._rounds = folder, run, rounds

    def before(self, round: int, turn: int) -> Mapping[str, Weights]:
        """Return what was kept before this turn; later turns are forgotten when it ends."""
        turns = self._until((round, turn))
        return turns[-1][1] if turns else {}

    def after(self, round: int, turn: int, memory: Mapping[str, Weights]) -> None:
        """Keep ``memory`` as it is after this turn, on disk when this returns.

        Raises:
            RunError: if the disk is full; what was kept before is kept.
        """
        turns = self._until((round, turn))
        latest = turns[-1][1] if turns else {}
        if not memory and not latest:
            return
        turns.append(((round, turn), dict(memory)))
        recent = [at for at, (place, _) in enumerate(turns) if place[0] > round - self._rounds]
        self._write(turns[max(0, recent[0] - 1) :])  # and the last of the turns before those

    def _until(self, place: Place) -> list[tuple[Place, dict[str, Weights]]]:
        """Return the turns before the one at ``place``, oldest first."""
        return [(at, memory) for at, memory in self._read() if at < place]

    def _read(self) -> list[tuple[Place, dict[str, Weights]]]:
        from safetensors import safe_open

        path = self._folder / self._run / _FILE
        if not path.is_file():
            return []
        with safe_open(path, framework="pt") as file:
            index = json.loads(file.metadata()["turns"])
            return [
                (
                    (round, turn),
                    {
                        name: {key: file.get_tensor(f"{at}/{n}/{key}") for key in keys}
                        for n, (name, keys) in enumerate(memory)
                    },
                )
                for at, (round, turn, memory) in enumerate(index)
            ]

    def _write(self, turns: list[tuple[Place, dict[str, Weights]]]) -> None:
        from safetensors.torch import save

        self._tidy()
        tensors, index = {}, []
        for at, (place, memory) in enumerate(turns):
            index.append([*place, [[name, list(weights)] for name, weights in memory.items()]])
            for n, weights in enumerate(memory.values()):
                for key, tensor in weights.items():
                    tensors[f"{at}/{n}/{key}"] = tensor.clone().contiguous()
        folder = self._folder / self._run
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        files.write(folder / _FILE, save(tensors, {"turns": json.dumps(index)}))

    def _tidy(self) -> None:
        """Forget the runs that were longest ago."""
        if (self._folder / self._run).is_dir() or not self._folder.is_dir():
            return
        runs = sorted(self._folder.iterdir(), key=lambda run: run.stat().st_mtime)
        for old in runs[: 1 - _RUNS]:
            shutil.rmtree(old, ignore_errors=True)
