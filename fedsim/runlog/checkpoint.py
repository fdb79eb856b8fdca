"""Checkpoints: all that a run needs to go on, in safetensors and JSON, checked by hash.

A checkpoint is a folder of three files.  ``state.safetensors`` holds the tensors, numbered;
``state.json`` holds the plain values and says which tensor has which number; ``SHA256SUMS``
holds the hashes of both, as ``sha256sum --check`` reads them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fedsim.errors import RunError
from fedsim.runlog.files import sync
from fedsim.runlog.first_format import without_packed
from fedsim.wire import ClientId, Weights

__all__ = ["Checkpoint", "newest", "save"]

FORMAT = 2
"""Of version 0.2; 1 is that of version 0.1, which had no plain values of the server."""
_TENSORS, _PLAIN, _SUMS = "state.safetensors", "state.json", "SHA256SUMS"


@dataclass(frozen=True)
class Checkpoint:
    """What a run knows after ``round``."""

    round: int
    weights: Weights
    memory: Mapping[str, Weights] = field(default_factory=dict)
    """The server's."""
    clients: Mapping[ClientId, Mapping[str, Weights]] = field(default_factory=dict)
    """What each client keeps between its turns."""
    plain: Mapping[str, Any] = field(default_factory=dict)
    """JSON values of the engine."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """JSON values of the server: the plain part of its state."""


def save(folder: Path, checkpoint: Checkpoint, keep: int = 2) -> Path:
    """Write ``folder/round_NNNN`` by rename and remove all but the ``keep`` newest.

    Raises:
        RunError: if the disk is full; older checkpoints are then untouched.
    """
    target = folder / f"round_{checkpoint.round:04d}"
    temporary = folder / f".{target.name}.tmp"
    try:
        _clear(temporary)
        temporary.mkdir(parents=True)
        _fill(temporary, checkpoint)
        _clear(target)
        os.rename(temporary, target)
        sync(folder)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(f"cannot write {target}: {error}; older checkpoints are kept") from error
    for old in _saved(folder)[keep:]:
        shutil.rmtree(old, ignore_errors=True)
    return target


def newest(folder: Path) -> tuple[Checkpoint | None, tuple[str, ...]]:
    """Return the newest checkpoint that is whole, and one note for each damaged one passed over.

    The checkpoint is None where there is none, or no whole one.
    """
    notes: list[str] = []
    for path in _saved(folder):
        try:
            return _load(path), tuple(notes)
        except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
            notes.append(f"checkpoint {path} is damaged ({error}); going back to the one before")
    return None, tuple(notes)


def _fill(folder: Path, checkpoint: Checkpoint) -> None:
    from safetensors.torch import save_file

    tensors = _Numbered()
    state = {
        "format": FORMAT,
        "round": checkpoint.round,
        "plain": checkpoint.plain,
        "server": checkpoint.server,
        "weights": tensors.add(checkpoint.weights),
        "memory": tensors.add(checkpoint.memory),
        "clients": tensors.add(checkpoint.clients),
    }
    save_file(tensors.by_number, folder / _TENSORS)
    (folder / _PLAIN).write_text(json.dumps(state))
    (folder / _SUMS).write_text(_sums(folder))
    for path in (folder / _TENSORS, folder / _PLAIN, folder / _SUMS, folder):
        sync(path)


def _load(folder: Path) -> Checkpoint:
    from safetensors.torch import load_file

    if (folder / _SUMS).read_bytes() != _sums(folder).encode():
        raise ValueError("its checksums do not match")
    state = json.loads((folder / _PLAIN).read_bytes())
    tensors = load_file(folder / _TENSORS)

    def named(index: Any) -> Any:
        if isinstance(index, str):
            return tensors[index]
        return {name: named(item) for name, item in index.items()}

    memory, server = named(state["memory"]), state.get("server", {})
    if state["format"] == 1:
        memory, server = without_packed(memory)
    return Checkpoint(
        state["round"],
        named(state["weights"]),
        memory,
        {int(client): named(memory) for client, memory in state["clients"].items()},
        state["plain"],
        server,
    )


class _Numbered:
    """Gives each tensor a number, because names joined by a separator could clash."""

    def __init__(self) -> None:
        self.by_number: Weights = {}
        self._numbers: dict[int, str] = {}
        self._storages: set[int] = set()

    def add(self, value: Any) -> Any:
        """Return ``value``, nested mappings of tensors, with numbers in the tensors' places."""
        if isinstance(value, Mapping):
            return {str(name): self.add(item) for name, item in value.items()}
        if id(value) not in self._numbers:
            number = self._numbers[id(value)] = str(len(self._numbers))
            self.by_number[number] = self._alone(value)
        return self._numbers[id(value)]

    def _alone(self, tensor: Any) -> Any:
        # safetensors refuses tensors that share memory.
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in self._storages or storage.nbytes() != tensor.nbytes:
            return tensor.clone()
        self._storages.add(storage.data_ptr())
        return tensor


def _sums(folder: Path) -> str:
    lines = []
    for name in (_TENSORS, _PLAIN):
        with (folder / name).open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)


def _saved(folder: Path) -> list[Path]:
    numbered = [(re.fullmatch(r"round_(\d+)", path.name), path) for path in folder.glob("round_*")]
    rounds = [(int(match[1]), path) for match, path in numbered if match]
    return [path for _, path in sorted(rounds, reverse=True)]


def _clear(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
