"""What a trained model makes of a file of new examples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fedsim.data.records import fields_of
from fedsim.data.sources._columns import Columns
from fedsim.data.table_layout import Planned
from fedsim.data.table_plan import planned_inputs
from fedsim.errors import DataError
from fedsim.export.deployed import deployed, preprocessing_in
from fedsim.plugins.registry import find
from fedsim.runlog.run_folder import RunFolder

__all__ = ["predict"]

_KINDS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet", ".npz": "npz"}
BATCH = 512


def predict(folder: RunFolder, file: Path, best: bool = False) -> Mapping[str, NDArray[Any]]:
    """Return the predictions for a file, by what they are called, a value for each example.

    Args:
        folder: of a finished run.
        best: whether the best round's weights predict, not the last's.
        file: read as the run's source reads its own; labels may be absent from a table.

    Raises:
        DataError: if it cannot be read, or has other columns.
        RunFolderError: if the run is not finished.
    """
    constants = preprocessing_in(folder)
    inputs = _inputs(folder, file, constants)
    shape = tuple(constants["inputs"]["shape"])
    fields = constants["inputs"].get("fields", [])
    if fields:
        _check_fields(inputs, fields, file)
    elif inputs.shape[1:] != shape:
        raise DataError(f"{file}: an example is {inputs.shape[1:]}, where the run's is {shape}")
    model = deployed(folder, best)
    with torch.no_grad():
        parts = [model(_tensors(part)) for part in np.array_split(inputs, _pieces(inputs))]
    return _named(torch.cat(parts).numpy(), constants)


def _tensors(inputs: NDArray[Any]) -> torch.Tensor | Mapping[str, torch.Tensor]:
    if not inputs.dtype.names:
        return torch.from_numpy(inputs)
    return {name: torch.from_numpy(np.array(part)) for name, part in fields_of(inputs).items()}


def _check_fields(inputs: NDArray[Any], fields: Sequence[Mapping[str, Any]], file: Path) -> None:
    here = {name: list(part.shape[1:]) for name, part in fields_of(inputs).items()}
    there = {field["name"]: field["shape"] for field in fields}
    if here != there:
        raise DataError(f"{file}: an example is {here}, where the run's is {there}")


def _pieces(inputs: NDArray[Any]) -> int:
    return max(1, -(-len(inputs) // BATCH))


def _inputs(folder: RunFolder, file: Path, constants: Mapping[str, Any]) -> NDArray[Any]:
    kind = _KINDS.get(file.suffix.lower())
    if kind is None:
        raise DataError(f"{file}: a file that ends in {', '.join(_KINDS)} is expected")
    parameters = folder.read_scenario()["data"]["source"]
    cls = find("source", kind)
    known = vars(cls(path="")).keys() - {"path", "test"}
    settings = {name: _tuples(value) for name, value in parameters.items() if name in known}
    source = cls(**settings, path=file.name)
    if isinstance(source, Columns) and constants["table"] is not None:
        plans = [_column(plan, constants) for plan in constants["table"]]
        return planned_inputs(source, plans, file)
    inputs: NDArray[Any] = source.load(0, file.parent).inputs
    return inputs


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _column(plan: Mapping[str, Any], constants: Mapping[str, Any]) -> Planned:
    """Return how a column becomes numbers; what the model fills itself stays NaN."""
    column = Planned(**{name: _tuples(value) for name, value in plan.items()})
    is_filled_later = constants["fill"] is not None and column.values is None
    return replace(column, fill=math.nan) if is_filled_later else column


def _named(outputs: NDArray[Any], constants: Mapping[str, Any]) -> Mapping[str, NDArray[Any]]:
    """Return columns: a label with its probabilities, or values by their targets' names."""
    use, names = constants["task"]["use"], constants["class_names"]
    if use == "classification":
        names = names or [str(number) for number in range(outputs.shape[1])]
        labels = np.array(names)[outputs.argmax(axis=1)]
        return {"label": labels, **{f"p_{n}": outputs[:, k] for k, n in enumerate(names)}}
    if use == "binary":
        pair = np.array(names or ["0", "1"])
        share = outputs.reshape(len(outputs))
        return {"label": pair[(share > 0.5).astype(int)], f"p_{pair[1]}": share}
    columns = outputs.reshape(len(outputs), -1)
    targets = constants["target_names"]
    if len(targets) != columns.shape[1]:
        targets = [f"output_{k}" for k in range(columns.shape[1])]
    return {str(name): columns[:, k] for k, name in enumerate(targets)}
