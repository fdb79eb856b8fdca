"""A device's own examples, prepared as the scenario's are: same columns, classes and scale."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from fedsim.data import store as stores
from fedsim.data.dataset import Array, Dataset, Source
from fedsim.data.federated import FederatedData, prepare
from fedsim.data.imputation import imputed, training_means
from fedsim.data.partitioning import Partitioned
from fedsim.data.preprocessing import table_of
from fedsim.data.scale import Scaling, fitted
from fedsim.data.sources._columns import Columns
from fedsim.data.split import cut
from fedsim.data.strata import strata_of
from fedsim.data.table_layout import Planned
from fedsim.data.target_spec import target_spec
from fedsim.edge.device_targets import device_targets, device_weights
from fedsim.errors import DataError
from fedsim.plugins.registry import find
from fedsim.schema.scenario import Scenario
from fedsim.seeds import numpy_stream
from fedsim.task import TargetSpec

__all__ = ["SCENARIO", "data_terms", "dealt_alone", "open_data"]

SCENARIO = "scenario"
"""Stands for a path: the device takes its part of the scenario's own source, as a rehearsal."""

_KINDS = {".npz": "npz", ".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_KEPT = {
    "npz": ("inputs", "labels", "missing", "weight", "inputs_as", "categorical"),
    "csv": ("label", "features", "missing", "weight", "categorical"),
    "parquet": ("label", "features", "missing", "weight", "categorical"),
}
"""What a device's file has in common with the scenario's: not its clients, nor its test split."""


def data_terms(scenario: Scenario, data: FederatedData) -> dict[str, Any]:
    """Return, as plain values, what devices must know to prepare their own examples.

    Raises:
        DataError: if the scenario's source cannot be read.
    """
    plan = table_of(scenario, data)
    terms = data.terms()
    columns = None if plan is None else [_column(column, data, terms) for column in plan]
    return {**terms, "columns": columns}


def _column(column: Planned, data: FederatedData, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return a column's plan as plain values; absent numbers become what they became in the run."""
    if column.fill is None or "fill" not in terms:
        return vars(column)
    return {**vars(column), "fill": terms["fill"][data.columns.index(column.name)]}


def open_data(
    path: str, scenario: Scenario, terms: Mapping[str, Any], client: int, place: Path
) -> FederatedData:
    """Return the examples that a device trains on, from the copy under ``place`` if there is one.

    Args:
        path: of its file, or ``scenario``.
        scenario: what is run.
        terms: what :func:`data_terms` told.
        client: which client the device is.
        place: a folder of the device's for prepared examples.

    Raises:
        DataError: if they cannot be read, or are not like the scenario's.
        MissingPackage: if reading them needs a package that is not installed.
    """
    store = place / _key(path, scenario, terms, client)
    if stores.is_complete(store):
        return FederatedData.open(store)
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path == SCENARIO:
        return prepare(scenario, store)
    stores.write(_dealt(Path(path), scenario, terms, client), store)
    return FederatedData.open(store)


def dealt_alone(path: Path, scenario: Scenario, client: int, clients: int) -> Partitioned:
    """Return a device's examples on a scale of their own: before a run tells another.

    Raises:
        DataError: if they cannot be read.
    """
    dataset = _source(path, scenario).load(scenario.seed, path.parent)
    rows = len(dataset)
    if dataset.has_gaps:
        dataset = replace(
            dataset, has_gaps=False, inputs=imputed(dataset.inputs, _own_means(dataset))
        )
    scale = fitted(dataset.inputs, np.array([0, rows, rows, rows]))
    terms = {
        "shape": dataset.inputs.shape[1:],
        "dtype": dataset.inputs.dtype.name,
        "classes": dataset.classes,
        "targets": asdict(
            target_spec(
                dataset.labels, np.array([0, rows, rows, rows]), dataset.classes, np.zeros(1, bool)
            )
        ),
        "class_names": dataset.class_names,
        "domain_names": (),
        "centre": scale.centre,
        "spread": scale.spread,
        "domain": np.full(clients, -1),
        "target": np.zeros(clients, bool),
        "columns": None,
    }
    return _dealt(path, scenario, terms, client)


def _key(path: str, scenario: Scenario, terms: Mapping[str, Any], client: int) -> str:
    """Return a name that is another when the file, or what is made of it, is another."""
    identity: list[Any] = [
        scenario.data.model_dump(mode="json"),
        scenario.seed,
        dict(terms),
        client,
    ]
    identity += [scenario.clients.count, path]
    if path != SCENARIO:
        try:
            state = Path(path).stat()
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from error
        identity += [state.st_mtime_ns, state.st_size]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _dealt(path: Path, scenario: Scenario, terms: Mapping[str, Any], client: int) -> Partitioned:
    inputs, labels, weights = _read(path, scenario, terms)
    _check(inputs, terms, path)
    holdout = scenario.data.holdout
    shares = [holdout.client_val.share, holdout.client_test.share]
    generator = numpy_stream(scenario.seed, "split", client)
    parts = [np.arange(len(labels))]
    if any(shares):
        dataset = Dataset(inputs, labels, None, None, terms["classes"])
        parts = cut(strata_of(dataset), shares, generator)
    order = np.concatenate(parts)
    clients = len(terms["target"])
    offsets = np.zeros(3 * clients + 1, np.int64)
    ends = np.cumsum([len(part) for part in parts])
    ends = np.r_[ends, np.repeat(ends[-1], 3 - len(ends))]
    offsets[3 * client + 1 : 3 * client + 4] = ends
    offsets[3 * client + 4 :] = len(labels)
    return Partitioned(
        inputs=inputs[order],
        labels=labels[order],
        weight=None if weights is None else weights[order],
        offsets=offsets,
        origin=order,
        domain=np.array(terms["domain"], np.int64),
        target=np.array(terms["target"], bool),
        test_inputs=inputs[:0],
        test_labels=labels[:0],
        test_domain=np.zeros(0, np.int64),
        scale=_scale(inputs[parts[0]], terms),
        classes=terms["classes"],
        targets=TargetSpec.of(terms["targets"]),
        class_names=tuple(terms["class_names"]),
        domain_names=tuple(terms["domain_names"]),
    )


def _scale(training: Array, terms: Mapping[str, Any]) -> Scaling:
    """Return the scale that the run reads inputs on, or the device's own where each has one."""
    scale = Scaling(*(np.array(terms[name], np.float32) for name in ("centre", "spread")))
    if scale.centre.ndim == 1:
        return scale
    rows = len(training)
    return fitted(training, np.array([0, rows, rows, rows]))


def _read(
    path: Path, scenario: Scenario, terms: Mapping[str, Any]
) -> tuple[Array, Array, Array | None]:
    """Return the inputs, the targets and, where examples have them, their weights."""
    source = _source(path, scenario)
    if isinstance(source, Columns) and terms["columns"] is not None:
        plan = [Planned.of(column) for column in terms["columns"]]
        inputs, labels, weights = source.follow(plan, path.parent)
        targets = device_targets(labels, terms, path)
        return inputs, targets, device_weights(weights, len(inputs), path)
    dataset = source.load(scenario.seed, path.parent)
    labels = dataset.labels
    if dataset.class_names and terms["class_names"]:
        labels = np.array(dataset.class_names)[labels]
    inputs = dataset.inputs
    if dataset.has_gaps:
        gaps = terms.get("fill")
        fill = np.array(gaps) if gaps is not None else _own_means(dataset)
        inputs = imputed(inputs, fill)
    return inputs, device_targets(labels, terms, path), dataset.weight


def _own_means(dataset: Dataset) -> Array:
    return training_means(dataset.inputs, np.arange(len(dataset)), bool(dataset.columns))


def _source(path: Path, scenario: Scenario) -> Source:
    """Return what reads the file, with what the scenario says of its columns or arrays."""
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise DataError(f"{path}: --data takes .npz, .csv or .parquet, or the word {SCENARIO}")
    parameters = scenario.data.source.parameters
    applicable = {key: parameters[key] for key in _KEPT[kind] if key in parameters}
    source: Source = find("source", kind, scenario.folder)(path=path.name, **applicable)
    return source


def _check(inputs: Array, terms: Mapping[str, Any], path: Path) -> None:
    here = f"{inputs.dtype} {inputs.shape[1:]}"
    there = f"{terms['dtype']} {tuple(terms['shape'])}"
    if here != there:
        raise DataError(f"{path}: an example is {here}, where the scenario's is {there}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        raise DataError(f"{path}: an input is NaN or infinite")
