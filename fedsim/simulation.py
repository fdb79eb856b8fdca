"""A whole run: put a scenario's pieces together, then round after round, resumable at any time."""

from __future__ import annotations

import hashlib
import shutil
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from fedsim.atlas import atlas
from fedsim.data.federated import FederatedData, prepare
from fedsim.data.preview import draw, label_skew, write_partition
from fedsim.errors import (
    BudgetSpent,
    Fault,
    Interrupted,
    QuorumLost,
    RunFolderError,
    ScenarioError,
)
from fedsim.flower.carrier import Carrier
from fedsim.flower.client_app import DESCRIBE, mark_of
from fedsim.flower.devices import Devices
from fedsim.flower.parts import client_of, strategy_of
from fedsim.flower.server_app import Grid, ServerApp, make_server_app
from fedsim.judge import SELECTED, STANDING, Judge
from fedsim.models._build import build, weights_of
from fedsim.privacy.claim import settled
from fedsim.privacy.guard import Guard
from fedsim.references import reference
from fedsim.registry import build as build_part
from fedsim.registry import find
from fedsim.report import checkpoint, gallery, tables, timeline
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
from fedsim.report.trackers import tracked
from fedsim.round import Federation, run_round
from fedsim.runtime.choose import backend_of, open_grid
from fedsim.runtime.compiling import COMPILED, Compiling, compiling, with_compiling
from fedsim.runtime.gpu_share import sharing
from fedsim.runtime.stacking import COHORT, Stacking, stacking, with_stacking
from fedsim.scenario.load import load
from fedsim.scenario.schema import Scenario
from fedsim.scenario.yaml_file import dump
from fedsim.strategy import ServerState, Wanted
from fedsim.wire import Broadcast, Weights

__all__ = ["interruptible", "opened", "resume", "run", "serve", "server_app", "weights_sha256"]

_TRIALS: tuple[tuple[str, str, Any, Any, Any], ...] = (
    ("cohort", COHORT, Stacking, stacking, with_stacking),
    ("compile", COMPILED, Compiling, compiling, with_compiling),
)
"""A key of ``compute``, where its finding is kept, of what kind it is, who tries, who settles."""


def run(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    """Run ``scenario`` from its first round; everything it leaves behind is in ``folder``.

    Raises:
        FedsimError: of any kind; what was finished before it is kept, and can be resumed.
    """
    with folder.lock(), interruptible(folder):
        result = _begin(scenario, folder, watch)
    watch(Finished(result))
    _tell(result)
    return result


def resume(folder: RunFolder, watch: Watch) -> Result:
    """Go on with the run in ``folder``; it ends as if it had never been stopped.

    Raises:
        RunFolderError: if the data is no longer what the run began with.
        FedsimError: as :func:`run`.
    """
    with folder.lock(), interruptible(folder):
        result = folder.result() or _go_on(folder, watch)
    watch(Finished(result))
    _tell(result)
    return result


def _tell(result: Result) -> None:
    """Raise what ended a run early, once its result is on disk."""
    if result.stopped:
        raise BudgetSpent(result.stopped)


def _begin(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    return _play(scenario, folder, _prepared(scenario, folder, sys.argv[1:]), watch)


def opened(scenario: Scenario, folder: RunFolder, command: Sequence[str]) -> FederatedData:
    """Return the run's data: as it was, or dealt and written down, the manifest last.

    Raises:
        RunFolderError: if the data is no longer what the run began with.
    """
    begun = folder.read_json("manifest.json")
    if begun is None:  # or killed before the data was dealt
        return _prepared(scenario, folder, command)
    data = prepare(scenario, folder.store)
    if data.digest != begun["data_sha256"]:
        raise RunFolderError(f"the data of {folder.path} has changed since the run began")
    return data


def _prepared(scenario: Scenario, folder: RunFolder, command: Sequence[str]) -> FederatedData:
    text = dump(scenario.resolved())
    folder.write(folder.scenario.name, text)
    data = prepare(scenario, folder.store)
    write_partition(data, folder.path)
    folder.write("manifest.json", manifest(text, data.digest, scenario.seed, command))
    return data


def _go_on(folder: RunFolder, watch: Watch) -> Result:
    scenario = load(folder.scenario)
    return _play(scenario, folder, opened(scenario, folder, sys.argv[1:]), watch)


def _play(scenario: Scenario, folder: RunFolder, data: FederatedData, watch: Watch) -> Result:
    torch.set_num_threads(1)  # As in the workers: sums split over threads depend on their number.
    scenario, _ = settled(scenario, data.clients)
    client_of(scenario, strategy_of(scenario))  # refused, if at all, before workers start
    with _tracked(scenario, folder, _drawing(data, folder, watch)) as watched:
        scenario = _tried(scenario, folder, data, watched)
        scenario = sharing(scenario, data, strategy_of(scenario), folder.store)
        with closing(open_grid(scenario, data, folder.store)) as grid:
            result = _Run.of(scenario, folder, data, grid, watched).play()
    shutil.rmtree(folder.store, ignore_errors=True)  # Made again from the scenario at need.
    return result


def _drawing(data: FederatedData, folder: RunFolder, watch: Watch) -> Watch:
    """Return ``watch``, drawing the deal after the first round: loading matplotlib takes a while.

    ``partition.json`` says the same before it.
    """
    picture = folder.path / "partition.svg"

    def watched(event: Event) -> None:
        watch(event)
        if isinstance(event, RoundDone) and not picture.exists():
            draw(data, picture)

    return watched


def _tried(scenario: Scenario, folder: RunFolder, data: FederatedData, watch: Watch) -> Scenario:
    """Settle how clients train by trying, once for a run: a second trial may end otherwise."""
    for key, name, kind, tried, settled_by in _TRIALS:
        if getattr(scenario.compute, key) == "off":
            continue
        if kept := folder.read_json(name):
            found = kind(**kept)
        else:
            private, claim = settled(scenario, data.clients)
            found = tried(private, data, strategy_of(private, claim), folder.store)
            folder.write(name, found)
        if found.note:
            watch(Note(found.note))
        scenario = settled_by(scenario, found)
    return scenario


def _tracked(scenario: Scenario, folder: RunFolder, watch: Watch) -> AbstractContextManager[Watch]:
    def noted(event: Event) -> None:
        if isinstance(event, Note):
            folder.log(event.text)
        watch(event)

    trackers = {name: find("tracker", name, scenario.folder)() for name in scenario.tracking}
    return tracked(trackers, scenario.resolved(), folder, noted)


def server_app(scenario: Scenario, folder: RunFolder, watch: Watch) -> ServerApp:
    """Return ``scenario`` as a Flower ServerApp, for any grid whose clients are fedsim's.

    The grid's nodes, in the order of their ids, are the scenario's clients 0, 1, 2, ...
    """
    return make_server_app(lambda grid, _: serve(scenario, folder, watch, grid))


def serve(scenario: Scenario, folder: RunFolder, watch: Watch, grid: Grid | Devices) -> Result:
    """Run ``scenario`` on a grid of Flower's, from where the run in ``folder`` stopped, if it did.

    Args:
        scenario: what is run.
        folder: where; it is held until this returns.
        watch: is called with every event.
        grid: which leads to the clients.
    """
    torch.set_num_threads(1)  # As everywhere: sums split over threads depend on their number.
    with folder.lock(), _tracked(scenario, folder, watch) as watched:
        data = opened(scenario, folder, ())
        watched = _drawing(data, folder, watched)
        if isinstance(grid, Devices):
            data = _met(scenario, folder, data, grid)
        result = _Run.of(scenario, folder, data, grid, watched).play()
        shutil.rmtree(folder.store, ignore_errors=True)  # As in _play.
        return result


def _met(
    scenario: Scenario, folder: RunFolder, data: FederatedData, devices: Devices
) -> FederatedData:
    """Ask each device, once in a run, what it holds; return the data as the devices hold it.

    Raises:
        QuorumLost: if a device with examples of its own did not say how many.
    """
    known: dict[str, dict[str, float]] = folder.read_json("devices.json") or {}
    asked = [(k, Broadcast({})) for k in data.clients if str(k.id) not in known]
    turns = Carrier(devices, strategy_of(scenario)).exchange(0, DESCRIBE, asked).turns
    for turn in turns:
        if not turn.fault:
            known[str(turn.client)] = {"examples": turn.examples, **turn.metrics}
    folder.write("devices.json", known)
    if known and all(one["data"] == mark_of(data.digest) for one in known.values()):
        return data  # a rehearsal: each device deals the scenario's data to itself
    if faults := [f"client {turn.client}: {turn.fault}" for turn in turns if turn.fault]:
        raise QuorumLost(f"each device is needed once, before round 1: {'; '.join(faults)}")
    if scenario.adapt.select != "last":
        fault = Fault(scenario.name, 0, 0, "adapt.select", "only 'last' works on real devices")
        raise ScenarioError([fault])
    return data.elsewhere({int(client): int(one["examples"]) for client, one in known.items()})


def _described(scenario: Scenario, data: FederatedData) -> Event:
    sizes = np.sort(data.sizes)
    if not data.is_here:
        held = f"{sizes[0]} to {sizes[-1]} examples of their own"
        return Note(f"{len(sizes)} devices hold {held}, {sizes.sum()} in all")
    # For each client; in blocks, for a million's would stay in memory.
    labels = [(some > 0).sum(axis=1) for some in data.counts_by_block()]
    return Data(
        source=scenario.data.source.use,
        examples=int(sizes.sum()),
        server_test=len(data.server_test()),
        client_sizes=(int(sizes[0]), int(np.median(sizes)), int(sizes[-1])),
        labels_per_client=(
            min(int(some.min()) for some in labels),
            max(int(some.max()) for some in labels),
        ),
        label_skew=label_skew(data),
    )


@dataclass(frozen=True)
class _Run:
    """A run's pieces, put together."""

    scenario: Scenario
    folder: RunFolder
    data: FederatedData
    fed: Federation
    judge: Judge
    watch: Watch
    guard: Guard | None = None

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        folder: RunFolder,
        data: FederatedData,
        grid: Grid | Devices,
        watch: Watch,
    ) -> _Run:
        scenario, claim = settled(scenario, data.clients)
        strategy = strategy_of(scenario, claim)
        carrier = Carrier(grid, strategy)
        model = build(scenario.model, data.shape, data.classes, scenario.seed, scenario.folder)
        guard = Guard.of(claim, folder.path, model) if claim else None
        clients = scenario.clients
        fed = Federation(
            seed=scenario.seed,
            clients=data.clients,
            sampler=guard.sampler()
            if guard
            else build_part("sampler", clients.sampler, scenario.folder),
            cohort_size=clients.per_round.of(len(data.clients), at_least=1),
            quorum=lambda cohort: clients.min_replies.of(cohort, at_least=1),
            strategy=strategy,
            carrier=carrier,
            model=model,
            release=guard.releaser(strategy) if guard else None,
            wanted=Wanted(data.shape, data.classes, scenario.local.parameters),
        )
        judge = Judge(scenario, data, carrier, model)
        return cls(scenario, folder, data, fed, judge, watch, guard)

    def play(self) -> Result:
        """Run what is left of the rounds, the references, and write the result."""
        state = self.fed.strategy.begin(weights_of(self.fed.model), self.data.clients)
        state, done = self._restored(state)
        self.folder.truncate_rounds(done)
        self._announce(done + 1)
        stopped = ""
        for number in range(done + 1, self.scenario.rounds + 1):
            kept = {k: state.memory[k] for k in (SELECTED, STANDING) if k in state.memory}
            try:
                state, record = self._round(number, state)
            except BudgetSpent as spent:
                stopped = str(spent)
                break
            weights = self.fed.strategy.evaluate(state)
            best = self.judge.selected(kept, weights, number)
            state = replace(state, memory={**state.memory, **best})
            record, rows = self.judge.complete(record, weights)
            self.folder.append_clients(rows)
            self.folder.append_round(record)
            if number % self.scenario.checkpoint.every == 0 or number == self.scenario.rounds:
                self._save(number, state)
            self._draw(number, state)
            for note in self.fed.carrier.take_notes():
                self.watch(Note(note))
            self.watch(RoundDone(record))
        return self._finish(state, stopped)

    def _round(self, number: int, state: ServerState) -> tuple[ServerState, RoundRecord]:
        if self.guard is None:
            return run_round(number, state, self.fed)
        self.guard.before(number, state)
        state, record = run_round(number, state, self.fed)
        return state, self.guard.cleaned(record)

    def _restored(self, state: ServerState) -> tuple[ServerState, int]:
        found, notes = checkpoint.newest(self.folder.checkpoints)
        for note in notes:
            self.watch(Note(note))
        if self.guard is not None:
            self.guard.verify(found.plain.get("privacy") if found else None, self.folder.rounds())
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
                plain={
                    "set_aside": {str(k): why for k, why in self.fed.carrier.set_aside.items()},
                    "privacy": self.guard.plain if self.guard else None,
                },
            ),
            self.scenario.checkpoint.keep,
        )

    def _draw(self, number: int, state: ServerState) -> None:
        """Keep the strategy's tables, and a picture of the images that clients sent.

        Without privacy the nearest real ones are beside them: a simulation alone has them.
        """
        tables.append(self.folder.path, number, self.fed.strategy.tables(state))

        def real(client: int) -> tuple[torch.Tensor, torch.Tensor]:
            held = self.data.train(client)
            return held.inputs, held.labels

        title = f"{self.scenario.name}, round {number}: what clients sent"
        beside = real if self.scenario.privacy is None and self.data.is_here else None
        if picture := gallery.draw(self.fed.strategy.pictures(state), beside, title):
            (self.folder.path / "pictures").mkdir(exist_ok=True)
            self.folder.write(f"pictures/round_{number:04d}.png", picture)

    def _announce(self, first_round: int) -> None:
        self.watch(_described(self.scenario, self.data))
        self.watch(
            Started(
                scenario_name=self.scenario.name,
                strategy=self.scenario.strategy.use,
                clients=len(self.data.clients),
                rounds=self.scenario.rounds,
                backend=backend_of(self.scenario, self.data) if self.fed.carrier.ours else "flower",
                workers=self.fed.carrier.workers,
                folder=self.folder.path,
                first_round=first_round,
            )
        )
        for note in self.guard.notes if self.guard else ():
            self.watch(Note(note))
        for note in getattr(client_of(self.scenario, self.fed.strategy), "notes", ()):
            self.watch(Note(note))

    def _references(self) -> dict[str, float]:
        """Return the references' accuracies; each is kept as soon as it is known."""
        if self.scenario.references and self.fed.carrier.is_real:
            self.watch(Note("references are left to a simulation: no device holds all examples"))
            return {}
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

    def _finish(self, state: ServerState, stopped: str) -> Result:
        timeline.keep(self.folder, state.round, self.fed.carrier.stints)
        references = self._references()
        weights = self.fed.strategy.evaluate(state)
        if SELECTED in state.memory:
            weights = state.memory[SELECTED]
            by, which = self.scenario.adapt.select, int(state.memory[STANDING]["round"])
            self.watch(Note(f"the result is the model of round {which}, chosen by {by}"))
        judged = self.judge.on_server(weights)
        records = self.folder.rounds()
        result = Result(
            strategy=self.scenario.strategy.use,
            rounds=len(records),
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
            domains=self.judge.by_domain(weights),
            stopped=stopped,
        )
        if (seen := atlas(self.scenario, self.data, weights)) is not None:
            self.folder.write("domains.json", seen)
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
def interruptible(folder: RunFolder) -> Iterator[None]:
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
