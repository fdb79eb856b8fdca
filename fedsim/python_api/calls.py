"""Run, resume, study, load: the same files and hashes as the command's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedsim.analysis.frames import Frames
from fedsim.analysis.frames import load as load_frames
from fedsim.python_api.finished_run import Run
from fedsim.python_api.scenario_input import model_part, scenario_file, written_arrays
from fedsim.python_api.surroundings import as_before, watching
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.run_list import new_folder
from fedsim.scenario.load import load as load_scenario
from fedsim.scenario.load import pin_kernels
from fedsim.schema.scenario import Scenario

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Run", "load", "resume", "run", "run_study"]


def run(
    scenario: str | Path | Mapping[str, Any] | Scenario,
    /,
    *,
    data: Any = None,
    model: nn.Module | str | Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    **overrides: Any,
) -> Run:
    """Run a scenario; what it leaves behind is in the run's folder, as the command leaves it.

    >>> fedsim.run("quickstart.yaml", rounds=5, **{"clients.per_round": 3})  # doctest: +SKIP

    Args:
        scenario: the path of a file, a mapping as a file would hold, whose relative paths start
            from the working directory, or a loaded scenario.
        data: arrays ``(x, y)`` or ``(x, y, client)`` to learn from, instead of ``data.source``:
            they are written beside the runs, named by their hash, so that resuming works.
        model: a module to train from the weights that it has: it is copied, and known in this
            process alone, so clients run in it; or what a scenario says under ``model``.
        folder: the run's folder, exactly there; by default a new one under ``output.dir``.
        **overrides: keys of the scenario, dotted or with two underscores, with their values.

    Raises:
        ScenarioError: if anything is wrong with the scenario.
        FedsimError: of any kind; what was finished is kept, and :func:`resume` goes on.
    """
    changes = [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in overrides.items()]
    if data is not None:
        changes.append(
            f"data.source={json.dumps({'use': 'npz', 'path': str(written_arrays(data))})}"
        )
    if model is not None:
        changes.append(f"model={json.dumps(model_part(model))}")
    with scenario_file(scenario) as path:
        loaded = load_scenario(path, changes)
    from fedsim.engine.run import run_scenario

    place = RunFolder.create(Path(folder)) if folder else new_folder(loaded.resolved())
    with as_before(), watching(loaded.rounds) as watch:
        run_scenario(loaded, place, watch)
    return Run(place)


def resume(folder: str | Path, /, *, rounds: int | None = None) -> Run:
    """Go on with an interrupted run; it ends as if it had never been stopped.

    Args:
        folder: the run's.
        rounds: how many it is to have in all, a finished one too: it ends as if it had had them
            from the start.

    Raises:
        RunFolderError: if the run cannot have so many rounds.
        FedsimError: as :func:`run`.
    """
    place = RunFolder.open(Path(folder))
    pin_kernels(place.scenario)  # before torch is loaded
    from fedsim.engine.run import resume_run

    in_all = rounds or int(place.read_scenario().get("rounds", 0))
    with as_before(), watching(in_all) as watch:
        resume_run(place, watch, rounds)
    return Run(place)


def run_study(file: str | Path, /, *, folder: str | Path | None = None, jobs: int = 1) -> Frames:
    """Run all experiments of a study and return their results as data frames.

    Args:
        file: the study.
        folder: the study's folder; by default ``output.dir/NAME``. One that is begun is gone on
            with.
        jobs: how many experiments run side by side.

    Raises:
        StudyIncomplete: if some of them failed; the others are kept.
    """
    from fedsim.scenario.study_file import load_study
    from fedsim.study.execution import begin, go_on

    loaded = load_study(Path(file), [])
    place = Path(folder) if folder else Path(loaded.head.output.dir) / loaded.head.name
    if not place.exists():
        begin(loaded, place)
    go_on(place, jobs, lambda _: None)
    return load_frames(place)


def load(folder: str | Path, /) -> Run | Frames:
    """Return a run, or all runs of a study or of a folder as data frames.

    Raises:
        MissingPackage: if pandas is not installed.
        RunFolderError: if there is no finished run.
    """
    path = Path(folder)
    if any((place / "scenario.resolved.yaml").is_file() for place in (path, path / "latest")):
        return Run(RunFolder.open(path))
    return load_frames(path)
