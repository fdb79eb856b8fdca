"""The weights that a model starts from: a run's, or those of a file, under their own names."""

from __future__ import annotations

import fnmatch
import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fedsim.errors import Fault, ScenarioError
from fedsim.models._state import inventory, unique_state
from fedsim.schema.finetune import FineTune
from fedsim.schema.wording import listed
from fedsim.wire import Weights

__all__ = ["file_of", "finetune_fault", "load_start", "matches", "sealed"]


def file_of(where: str) -> Path:
    """Return the file with the weights: of a run's folder that which the run ends with."""
    path = Path(where)
    return path / "model.safetensors" if path.is_dir() else path


def finetune_fault(key: str, message: str, hint: str = "") -> ScenarioError:
    """Return the error for a key of the section ``finetune``."""
    return ScenarioError([Fault("", 0, 0, f"finetune.{key}", message, hint)])


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether one of ``patterns``, such as ``body.*``, is of ``name``."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def sealed(spec: FineTune | None) -> FineTune | None:
    """Return the section with the hash of its file, so that a resumed run starts from the same.

    Raises:
        ScenarioError: if there is no such file, or it has changed.
    """
    if spec is None or spec.weights is None:
        return spec
    file = file_of(spec.weights)
    if not file.is_file():
        hint = "the run is not finished" if file.name == "model.safetensors" else ""
        raise finetune_fault("weights", f"there is no file {str(file)!r}", hint)
    with file.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if spec.sha256 not in (None, digest):
        message = f"the file has changed: its hash is {digest}, not {spec.sha256}"
        raise finetune_fault("weights", message)
    return spec.model_copy(update={"sha256": digest})


def load_start(model: nn.Module, spec: FineTune) -> None:
    """Copy the weights that ``spec`` names into ``model``.

    A weight of another floating-point type is cast; a count of batches may be missing.

    Raises:
        ScenarioError: if the file cannot be read, or its names or shapes are not the model's.
    """
    if spec.weights is None:
        return
    stored = _renamed(_read(file_of(spec.weights)), spec.rename)
    slots, entries = unique_state(model), inventory(model)
    known = {entry.name: entry.tied_to or entry.name for entry in entries}
    missing = [
        name
        for name, slot in slots.items()
        if slot.is_floating_point()
        and not any(known[n] == name for n in stored if n in known)
        and not matches(name, spec.allow)
    ]
    superfluous = [n for n in stored if n not in known and not matches(n, spec.allow)]
    if missing or superfluous:
        raise finetune_fault("weights", *_other_names(missing, superfluous))
    for name, value in stored.items():
        if name in known and (slot := slots[known[name]]).shape == value.shape:
            with torch.no_grad():
                slot.copy_(value)
        elif name in known and not matches(name, spec.allow):
            shapes = f"{tuple(value.shape)} in the file and {tuple(slot.shape)} in the model"
            hint = f"allow: [{name}] draws it from the seed"
            raise finetune_fault("weights", f"{name} has the shape {shapes}", hint)


def _read(file: Path) -> Weights:
    if file.suffix == ".safetensors":
        tensors: Weights = _readable(lambda: load_file(file), file)
        return tensors
    if file.suffix not in (".pt", ".pth", ".bin"):
        message = f"{file.name} is no run's folder, .safetensors, .pt, .pth or .bin file"
        raise finetune_fault("weights", message)
    content = _readable(lambda: torch.load(file, map_location="cpu", weights_only=True), file)
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise finetune_fault("weights", f"{file.name} holds no state dict: named tensors alone")
    return dict(content)


def _readable(load: Callable[[], Any], file: Path) -> Any:
    try:
        return load()
    except Exception as error:  # of several libraries, of many kinds
        text = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise finetune_fault("weights", f"{file.name} cannot be read: {text}") from error


def _renamed(stored: Weights, rename: Mapping[str, str]) -> Weights:
    """Return the tensors under the model's names.

    Raises:
        ScenarioError: if a rule is of no name, or two names become one.
    """
    renamed: Weights = {}
    used: set[str] = set()
    for name, tensor in stored.items():
        new = name
        for old, target in rename.items():
            head, star, tail = old.partition("*")
            is_hit = name.startswith(head) and not tail if star else name == old
            if is_hit:
                used.add(old)
                new = target.replace("*", name[len(head) :]) if star else target
                break
        if new in renamed:
            raise finetune_fault("rename", f"two names of the file become {new}")
        renamed[new] = tensor
    if unused := sorted(rename.keys() - used):
        hint = f"it has {listed(list(stored)[:8])}"
        raise finetune_fault("rename", f"no name of the file is {unused[0]!r}", hint)
    return renamed


def _other_names(missing: list[str], superfluous: list[str]) -> tuple[str, str]:
    parts = []
    if missing:
        parts.append(f"the file lacks {_few(missing)}")
    if superfluous:
        parts.append(f"the file has {_few(superfluous)}, which the model has not")
    hint = f"finetune.rename maps names; finetune.allow: [{(missing or superfluous)[0]}] lets them"
    return " and ".join(parts), f"{hint} differ"


def _few(names: list[str]) -> str:
    return listed(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
