"""Scenarios and arrays that are given as values, on their way into files."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.scenario.yaml_file import dump
from fedsim.schema.scenario import Scenario

if TYPE_CHECKING:
    from torch import nn

__all__ = ["model_part", "scenario_file", "written_arrays"]


@contextmanager
def scenario_file(scenario: str | Path | Mapping[str, Any] | Scenario) -> Iterator[Path]:
    """Give a scenario's file; one that lives for as long as it is read, where there is none."""
    if isinstance(scenario, str | Path):
        yield Path(scenario)
        return
    folder = scenario.folder if isinstance(scenario, Scenario) else Path.cwd()
    values = scenario.resolved() if isinstance(scenario, Scenario) else dict(scenario)
    values.setdefault("name", "scenario")
    handle, name = tempfile.mkstemp(".yaml", "scenario-", folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(dump(values))
        yield Path(name)
    finally:
        os.unlink(name)


def model_part(model: nn.Module | str | Mapping[str, Any]) -> str | Mapping[str, Any]:
    """Return what a scenario says under ``model``; a module of this process is kept for it.

    Raises:
        TypeError: if it is neither.
    """
    if isinstance(model, str | Mapping):
        return model
    from torch import nn

    from fedsim.models.live_module import remembered

    if not isinstance(model, nn.Module):
        raise TypeError(f"model: a torch.nn.Module is expected, not {type(model).__name__}")
    return {"use": "live_module", "sha256": remembered(model)}


def written_arrays(data: Any) -> Path:
    """Write arrays to a file that is called by their hash, and return it.

    Several inputs by name are written as ``inputs.NAME``.
    """
    import numpy as np

    inputs, *others = data
    named = (
        {f"inputs.{name}": part for name, part in inputs.items()}
        if isinstance(inputs, Mapping)
        else {"x": inputs}
    )
    given = {**named, **dict(zip(("y", "client"), others, strict=False))}
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in given.items()}
    digest = hashlib.sha256()
    for name, array in arrays.items():
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    path = Path("runs", "inputs", f"{digest.hexdigest()}.npz").absolute()
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".tmp.npz")
        np.savez(unfinished, **arrays)
        unfinished.rename(path)
    return path
