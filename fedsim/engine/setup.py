"""What a run needs before its first round: partitioned data, trials, trackers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fedsim.data.federated import FederatedData, prepare
from fedsim.data.fit import augment_faults, model_faults
from fedsim.data.header import FieldSpec
from fedsim.data.named_fit import named_faults
from fedsim.data.naming import is_plain
from fedsim.data.preprocessing import preprocessing_of
from fedsim.data.preview import draw, label_skew, write_partition
from fedsim.engine.experiment import Experiment
from fedsim.engine.transport import Transport
from fedsim.errors import (
    Fault,
    QuorumLost,
    RunFolderError,
    ScenarioError,
)
from fedsim.flower.client_app import DESCRIBE, mark_of
from fedsim.flower.devices import Devices
from fedsim.flower.parts import strategy_of
from fedsim.metrics.metric import Metric
from fedsim.models._weights_file import sealed
from fedsim.plugins.registry import find
from fedsim.runlog.events import (
    Data,
    Event,
    Note,
    RoundDone,
    Watch,
)
from fedsim.runlog.manifest import manifest
from fedsim.runlog.metric_info import MetricInfo
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.trackers import tracked
from fedsim.runtime.compiling import COMPILED, Compiling, compiling, with_compiling
from fedsim.runtime.stacking import COHORT, Stacking, stacking, with_stacking
from fedsim.scenario.yaml_file import dump
from fedsim.schema.scenario import Scenario
from fedsim.tasks._from_scenario import measures_of, task_of
from fedsim.wire import Broadcast

__all__ = [
    "ask_devices",
    "described",
    "opened",
    "prepared",
    "tried",
    "with_partition_drawing",
    "with_trackers",
]


_TRIALS: tuple[tuple[str, str, Any, Any, Any], ...] = (
    ("cohort", COHORT, Stacking, stacking, with_stacking),
    ("compile", COMPILED, Compiling, compiling, with_compiling),
)
"""A key of ``compute``, where its finding is kept, of what kind it is, who tries, who settles."""


def opened(scenario: Scenario, folder: RunFolder, command: Sequence[str]) -> FederatedData:
    """Return the run's data: as it was, or dealt and written down, the manifest last.

    Raises:
        RunFolderError: if the data is no longer what the run began with.
        ScenarioError: if that is so of the weights it started from.
    """
    begun = folder.read_json("manifest.json")
    if begun is None:  # or killed before the data was dealt
        return prepared(scenario, folder, command)
    sealed(scenario.finetune)
    data = prepare(scenario, folder.store)
    if data.digest != begun["data_sha256"]:
        raise RunFolderError(f"the data of {folder.path} has changed since the run began")
    return data


def prepared(scenario: Scenario, folder: RunFolder, command: Sequence[str]) -> FederatedData:
    """Return the data of a new run, dealt; scenario, deal and manifest are written down.

    Raises:
        DataError: if the data cannot be read or split so.
        ScenarioError: if the model does not take such inputs.
    """
    text = dump(scenario.model_copy(update={"finetune": sealed(scenario.finetune)}).resolved())
    folder.write(folder.scenario.name, text)
    data = prepare(scenario, folder.store)
    dtype = data.stored["inputs"].dtype
    if dtype.names:
        faults = [*named_faults(scenario, dtype.names)]
    else:
        kind = "tokens" if dtype == np.int64 else "numeric"
        augment = augment_faults(scenario, FieldSpec(dtype.name, data.shape, kind))
        faults = [*model_faults(scenario, dtype.name, kind == "tokens"), *augment]
    if faults:
        raise ScenarioError(faults)
    write_partition(data, folder.path)
    measures = measures_of(scenario, task_of(scenario, data.targets))
    folder.write("metrics.json", [info_of(metric) for metric in measures.metrics])
    if named := data.named():
        folder.write("data.json", named)
    folder.write("preprocessing.json", preprocessing_of(scenario, data))
    where = scenario.compute.repeatable
    folder.write("manifest.json", manifest(text, data.digest, scenario.seed, command, where))
    return data


def info_of(metric: Metric) -> MetricInfo:
    """Return ``metric`` as a run's reports speak of it."""
    low, high = metric.range
    return MetricInfo(metric.name, metric.title, metric.better, metric.unit, low, high)


def with_partition_drawing(data: FederatedData, folder: RunFolder, watch: Watch) -> Watch:
    """Return ``watch``, drawing the deal after the first round: loading matplotlib takes a while.

    ``partition.json`` says the same before it.
    """
    picture = folder.path / "partition.svg"

    def watched(event: Event) -> None:
        watch(event)
        if isinstance(event, RoundDone) and not picture.exists():
            draw(data, picture)

    return watched


def tried(experiment: Experiment, folder: RunFolder, watch: Watch) -> Experiment:
    """Settle how clients train by trying, once for a run: a second trial may end otherwise."""
    for key, name, kind, trial, settled_by in _TRIALS:
        scenario = experiment.scenario
        if getattr(scenario.compute, key) == "off":
            continue
        if saved := folder.read_json(name):
            settings = kind(**saved)
        else:
            settings = trial(scenario, experiment.data, experiment.strategy, folder.store)
            folder.write(name, settings)
        if settings.note:
            watch(Note(settings.note))
        experiment = experiment.with_scenario(settled_by(scenario, settings))
    return experiment


def with_trackers(
    scenario: Scenario, folder: RunFolder, watch: Watch
) -> AbstractContextManager[Watch]:
    """Return ``watch`` joined by the scenario's trackers; notes go to the run's log as well."""

    def noted(event: Event) -> None:
        if isinstance(event, Note):
            folder.log(event.text)
        watch(event)

    trackers = {name: find("tracker", name, scenario.folder)() for name in scenario.tracking}
    return tracked(trackers, scenario.resolved(), folder, noted)


def ask_devices(
    scenario: Scenario, folder: RunFolder, data: FederatedData, devices: Devices
) -> FederatedData:
    """Ask each device, once in a run, what it holds; return the data as the devices hold it.

    Raises:
        QuorumLost: if a device with examples of its own did not say how many.
    """
    answers: dict[str, dict[str, float]] = folder.read_json("devices.json") or {}
    requests = [(k, Broadcast({})) for k in data.clients if str(k.id) not in answers]
    turns = Transport(devices, strategy_of(scenario)).exchange(0, DESCRIBE, requests).turns
    for turn in turns:
        if not turn.fault:
            answers[str(turn.client)] = {"examples": turn.examples, **turn.metrics}
    folder.write("devices.json", answers)
    if answers and all(answer["data"] == mark_of(data.digest) for answer in answers.values()):
        return data  # a rehearsal: each device deals the scenario's data to itself
    if faults := [f"client {turn.client}: {turn.fault}" for turn in turns if turn.fault]:
        raise QuorumLost(f"each device is needed once, before round 1: {'; '.join(faults)}")
    if scenario.adapt.select != "last":
        fault = Fault(scenario.name, 0, 0, "adapt.select", "only 'last' works on real devices")
        raise ScenarioError([fault])
    return data.elsewhere(
        {int(client): int(answer["examples"]) for client, answer in answers.items()}
    )


def described(scenario: Scenario, data: FederatedData) -> Event:
    """Return what a user is told of the data before the first round."""
    sizes = np.sort(data.sizes)
    if not data.is_here:
        span = f"{sizes[0]} to {sizes[-1]} examples of their own"
        return Note(f"{len(sizes)} devices hold {span}, {sizes.sum()} in all")
    # For each client; in blocks, for a million's would stay in memory.
    labels = [(block > 0).sum(axis=1) for block in data.counts_by_block()]
    return Data(
        source=scenario.data.source.use,
        examples=int(sizes.sum()),
        server_test=len(data.server_test()),
        client_sizes=(int(sizes[0]), int(np.median(sizes)), int(sizes[-1])),
        labels_per_client=(
            min(int(counts.min()) for counts in labels),
            max(int(counts.max()) for counts in labels),
        ),
        label_skew=label_skew(data),
        columns=data.columns,
        classes=() if is_plain(data.class_names) else data.class_names,
        targets=() if data.classes else data.target_names,
    )
