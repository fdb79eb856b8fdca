"""Runs a scenario, resumes a run, serves one to devices: the entry points of the engine."""

from __future__ import annotations

import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager

import torch

from fedsim.data.federated import FederatedData
from fedsim.engine.experiment import Experiment
from fedsim.engine.failed_start import cleared_if_not_started
from fedsim.engine.loop import TrainingLoop
from fedsim.engine.prolong import prolong
from fedsim.engine.resume_notes import resume_notes
from fedsim.engine.setup import (
    ask_devices,
    opened,
    prepared,
    tried,
    with_partition_drawing,
    with_trackers,
)
from fedsim.errors import (
    BudgetSpent,
    Interrupted,
)
from fedsim.flower.devices import Devices
from fedsim.flower.server_app import Grid, ServerApp, make_server_app
from fedsim.kernels import require
from fedsim.runlog.events import (
    Finished,
    Note,
    Result,
    Watch,
)
from fedsim.runlog.run_folder import RunFolder
from fedsim.runtime.choose import open_grid
from fedsim.runtime.gpu_share import sharing
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

__all__ = ["interruptible", "resume_run", "run_scenario", "serve_scenario", "server_app"]


def run_scenario(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    """Run ``scenario`` from its first round; everything it leaves behind is in ``folder``.

    Raises:
        FedsimError: of any kind; what was finished before it is kept, and can be resumed.  A run
            that could not start leaves no folder.
    """
    with folder.lock(), interruptible(folder), cleared_if_not_started(folder):
        result = _begin(scenario, folder, watch)
    watch(Finished(result, folder.metrics()))
    _tell(result)
    return result


def resume_run(folder: RunFolder, watch: Watch, rounds: int | None = None) -> Result:
    """Go on with the run in ``folder``; it ends as if it had never been stopped.

    Args:
        folder: the run's.
        watch: is told what happens.
        rounds: how many it is to have in all; None: as many as its scenario says.

    Raises:
        RunFolderError: if the data is no longer what the run began with, or the run cannot have
            so many rounds.
        FedsimError: as :func:`run_scenario`.
    """
    with folder.lock(), interruptible(folder):
        for note in prolong(folder, rounds, sys.argv[1:]) if rounds is not None else ():
            folder.log(note)
            watch(Note(note))
        result = folder.result() or _go_on(folder, watch)
    watch(Finished(result, folder.metrics()))
    _tell(result)
    return result


def _tell(result: Result) -> None:
    """Raise what ended a run early, once its result is on disk."""
    if result.stopped:
        raise BudgetSpent(result.stopped)


def _begin(scenario: Scenario, folder: RunFolder, watch: Watch) -> Result:
    return _play(scenario, folder, prepared(scenario, folder, sys.argv[1:]), watch)


def _go_on(folder: RunFolder, watch: Watch) -> Result:
    scenario = load(folder.scenario)
    for note in resume_notes(folder):
        watch(Note(note))
    return _play(scenario, folder, opened(scenario, folder, sys.argv[1:]), watch)


def _play(scenario: Scenario, folder: RunFolder, data: FederatedData, watch: Watch) -> Result:
    require(scenario.compute.repeatable)
    torch.set_num_threads(1)  # As in the workers: sums split over threads depend on their number.
    experiment = Experiment.settled(scenario, data)
    with with_trackers(scenario, folder, with_partition_drawing(data, folder, watch)) as watched:
        for note in data.notes:
            watched(Note(note))
        experiment = tried(experiment, folder, watched)
        shared = sharing(experiment.scenario, data, experiment.strategy, folder.store)
        experiment = experiment.with_scenario(shared)
        with closing(open_grid(shared, data, folder.store)) as grid:
            result = TrainingLoop.of(experiment, folder, grid, watched).play()
    shutil.rmtree(folder.store, ignore_errors=True)  # Made again from the scenario at need.
    return result


def server_app(scenario: Scenario, folder: RunFolder, watch: Watch) -> ServerApp:
    """Return ``scenario`` as a Flower ServerApp, for any grid whose clients are fedsim's.

    The grid's nodes, in the order of their ids, are the scenario's clients 0, 1, 2, ...
    """
    return make_server_app(lambda grid, _: serve_scenario(scenario, folder, watch, grid))


def serve_scenario(
    scenario: Scenario, folder: RunFolder, watch: Watch, grid: Grid | Devices
) -> Result:
    """Run ``scenario`` on a grid of Flower's, from where the run in ``folder`` stopped, if it did.

    Args:
        scenario: what is run.
        folder: where; it is held until this returns.
        watch: is called with every event.
        grid: which leads to the clients.
    """
    require(scenario.compute.repeatable)
    torch.set_num_threads(1)  # As everywhere: sums split over threads depend on their number.
    with folder.lock(), with_trackers(scenario, folder, watch) as watched:
        data = opened(scenario, folder, ())
        watched = with_partition_drawing(data, folder, watched)
        if isinstance(grid, Devices):
            data = ask_devices(scenario, folder, data, grid)
        experiment = Experiment.settled(scenario, data)
        result = TrainingLoop.of(experiment, folder, grid, watched).play()
        shutil.rmtree(folder.store, ignore_errors=True)  # As in _play.
        return result


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
