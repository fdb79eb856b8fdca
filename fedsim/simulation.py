"""A whole run: put a scenario's pieces together, then round after round, resumable at any time."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch

from fedsim.data.federated import FederatedData, prepare
from fedsim.data.preview import label_skew, write_partition
from fedsim.errors import Interrupted, RunFolderError
from fedsim.flower.carrier import Carrier
from fedsim.flower.grid import ChunkGrid
from fedsim.flower.parts import strategy_of
from fedsim.judge import Judge
from fedsim.models._build import build, weights_of
from fedsim.references import reference
from fedsim.registry import build as build_part
from fedsim.report import checkpoint
from fedsim.report.checkpoint import Checkpoint
from fedsim.report.events import (
    Data,
    Event,
    Finished,
    Note,
    ReferenceDone,
    Result,
    RoundDone,
    RoundRecord,
    Started,
    Watch,
)
from fedsim.report.folder import RunFolder
from fedsim.report.manifest import manifest
from fedsim.report.rounds import metrics_sha256
from fedsim.round import Federation, run_round
from fedsim.runtime.choose import backend_of, open_grid
from fedsim.scenario.load import load
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml_file import dump
from fedsim.strategy import ServerState
from fedsim.wire import Weights

__all__ = ["resume", "run", "weights_sha256"]


def run(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    """Run ``scenario`` from its first round; everything it leaves behind is in ``folder``.

    Raises:
        FedsimError: of any kind; what was finished before it is kept, and can be resumed.
    """
    with folder.lock(), _interruptible(folder):
        result = _begin(scenario, folder, watch)
    watch(Finished(result))
    return result


def resume(folder: RunFolder, watch: Watch) -> Result:
    """Go on with the run in ``folder``; it ends as if it had never been stopped.

    Raises:
        RunFolderError: if the data is no longer what the run began with.
        FedsimError: as :func:`run`.
    """
    with folder.lock(), _interruptible(folder):
        result = folder.result() or _go_on(folder, watch)
    watch(Finished(result))
    return result


def _begin(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    text = dump(scenario.resolved())
    folder.write(folder.scenario.name, text)
    data = prepare(scenario, folder.store)
    write_partition(data, folder.path)
    folder.write("manifest.json", manifest(text, data.digest, scenario.seed, sys.argv[1:]))
    return _play(scenario, folder, data, watch)


def _go_on(folder: RunFolder, watch: Watch) -> Result:
    scenario = load(folder.scenario)
    begun = folder.read_json("manifest.json")
    if begun is None:  # killed before the data was dealt
        return _begin(scenario, folder, watch)
    data = prepare(scenario, folder.store)
    if data.digest != begun["data_sha256"]:
        raise RunFolderError(f"the data of {folder.path} has changed since the run began")
    return _play(scenario, folder, data, watch)


def _play(scenario: Scenario, folder: RunFolder, data: FederatedData, watch: Watch) -> Result:
    torch.set_num_threads(1)  # As in the workers: sums split over threads depend on their number.

    def noted(event: Event) -> None:
        if isinstance(event, Note):
            folder.log(event.text)
        watch(event)

    with closing(open_grid(scenario, data, folder.store)) as grid:
        result = _Run.of(scenario, folder, data, grid, noted).play()
    shutil.rmtree(folder.store, ignore_errors=True)  # Made again from the scenario at need.
    return result


@dataclass(frozen=True)
class _Run:
    """A run's pieces, put together."""

    scenario: Scenario
    folder: RunFolder
    data: FederatedData
    grid: ChunkGrid
    fed: Federation
    judge: Judge
    watch: Watch

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        folder: RunFolder,
        data: FederatedData,
        grid: ChunkGrid,
        watch: Watch,
    ) -> _Run:
        strategy = strategy_of(scenario)
        carrier = Carrier(grid, strategy)
        model = build(scenario.model, data.shape, data.classes, scenario.seed, scenario.folder)
        clients = scenario.clients
        fed = Federation(
            seed=scenario.seed,
            clients=data.clients,
            sampler=build_part("sampler", clients.sampler, scenario.folder),
            cohort_size=clients.per_round.of(len(data.clients), at_least=1),
            quorum=lambda cohort: clients.min_replies.of(cohort, at_least=1),
            strategy=strategy,
            carrier=carrier,
            model=model,
        )
        return cls(scenario, folder, data, grid, fed, Judge(scenario, data, carrier, model), watch)

    def play(self) -> Result:
        """Run what is left of the rounds, the references, and write the result."""
        state = self.fed.strategy.begin(weights_of(self.fed.model), self.data.clients)
        state, done = self._restored(state)
        self.folder.truncate_rounds(done)
        self._announce(done + 1)
        for number in range(done + 1, self.scenario.rounds + 1):
            state, record = run_round(number, state, self.fed)
            weights = self.fed.strategy.evaluate(state)
            record, rows = self.judge.complete(record, weights)
            self.folder.append_clients(rows)
            self.folder.append_round(record)
            if number % self.scenario.checkpoint.every == 0 or number == self.scenario.rounds:
                self._save(number, state)
            for note in self.fed.carrier.take_notes():
                self.watch(Note(note))
            self.watch(RoundDone(record))
        return self._finish(state)

    def _restored(self, state: ServerState) -> tuple[ServerState, int]:
        found, notes = checkpoint.newest(self.folder.checkpoints)
        for note in notes:
            self.watch(Note(note))
        if found is None:
            return state, 0
        aside = {int(client): why for client, why in found.plain["set_aside"].items()}
        self.fed.carrier.restore(found.clients, aside)
        return replace(
            state, weights=found.weights, memory=found.memory, round=found.round
        ), found.round

    def _save(self, number: int, state: ServerState) -> None:
        checkpoint.save(
            self.folder.checkpoints,
            Checkpoint(
                round=number,
                weights=state.weights,
                memory=state.memory,
                clients=self.fed.carrier.memories,
                plain={"set_aside": {str(k): why for k, why in self.fed.carrier.set_aside.items()}},
            ),
            self.scenario.checkpoint.keep,
        )

    def _announce(self, first_round: int) -> None:
        sizes = sorted(info.examples for info in self.data.clients)
        labels = (self.data.counts() > 0).sum(axis=1)  # (clients,)
        self.watch(
            Data(
                source=self.scenario.data.source.use,
                examples=sum(sizes),
                server_test=len(self.data.server_test()),
                client_sizes=(sizes[0], int(np.median(sizes)), sizes[-1]),
                labels_per_client=(int(labels.min()), int(labels.max())),
                label_skew=label_skew(self.data),
            )
        )
        self.watch(
            Started(
                scenario_name=self.scenario.name,
                strategy=self.scenario.strategy.use,
                clients=len(self.data.clients),
                rounds=self.scenario.rounds,
                backend=backend_of(self.scenario, self.data),
                workers=self.grid.workers,
                folder=self.folder.path,
                first_round=first_round,
            )
        )

    def _references(self) -> dict[str, float]:
        """Return the references' accuracies; each is kept as soon as it is known."""
        known: dict[str, float] = self.folder.read_json("references.json") or {}
        for name in self.scenario.references:
            if name not in known:
                found = reference(name, self.fed.carrier, self.data.clients, self.scenario.rounds)
                known[name] = found.accuracy
                self.folder.write("references.json", known)
                self.watch(found)
            else:
                self.watch(ReferenceDone(name, known[name], "computed earlier"))
        return known

    def _finish(self, state: ServerState) -> Result:
        references = self._references()
        weights = self.fed.strategy.evaluate(state)
        judged = self.judge.on_server(weights)
        records = self.folder.rounds()
        result = Result(
            strategy=self.scenario.strategy.use,
            rounds=self.scenario.rounds,
            accuracy=judged.accuracy,
            loss=judged.loss,
            weights_sha256=weights_sha256(weights),
            references=references,
            bytes_up=sum(record.bytes_up for record in records),
            bytes_down=sum(record.bytes_down for record in records),
            seconds=sum(record.seconds for record in records),
            targets=_reached(self.scenario, records),
            dropped=sum(len(record.dropped) for record in records),
            metrics_sha256=metrics_sha256(records),
        )
        self.folder.write_weights(weights)
        self.folder.write("result.json", result)
        return result


def weights_sha256(weights: Weights) -> str:
    """Return the hash of every tensor's name, dtype, shape and bytes, in order of name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        array = tensor.detach().cpu().contiguous().numpy()
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _reached(scenario: Scenario, records: list[RoundRecord]) -> dict[str, dict[str, int | None]]:
    """Return, for each target, the round that reached it and the bytes sent until then."""
    reached: dict[str, dict[str, int | None]] = {}
    for name, target in scenario.evaluation.targets.items():
        reached[name] = {"round": None, "bytes": None}
        spent = 0
        for record in records:
            spent += record.bytes_up + record.bytes_down
            value = record.accuracy if name == "accuracy" else record.loss
            if value is None:
                continue
            if value >= target if name == "accuracy" else value <= target:
                reached[name] = {"round": record.round, "bytes": spent}
                break
    return reached


@contextmanager
def _interruptible(folder: RunFolder) -> Iterator[None]:
    """Turn Ctrl-C and SIGTERM inside the block into :class:`Interrupted`."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"stopped; go on with: fedsim resume {folder.path}") from error
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
