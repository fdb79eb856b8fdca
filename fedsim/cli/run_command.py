"""``fedsim run`` and ``fedsim resume``: start an experiment, or go on with one."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from fedsim.cli.failure import resumable
from fedsim.cli.options import File, Run, Set
from fedsim.cli.progress import result_lines, watching
from fedsim.cli.screen import Screen
from fedsim.cli.study_command import is_study_folder, resume_study, run_study
from fedsim.edge.attempt import is_on_devices
from fedsim.edge.federation import Federation
from fedsim.runlog.run_folder import RunFolder
from fedsim.runlog.run_list import new_folder
from fedsim.runlog.runs import SCENARIO

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["resume", "run"]

Jobs = Annotated[int, typer.Option(min=1, help="How many cells of a study run side by side.")]


def run(
    file: File,
    sets: Set = None,
    seed: Annotated[
        int | None, typer.Option(help="Short for --set seed=N.", show_default=False)
    ] = None,
    run_dir: Annotated[
        Path | None, typer.Option(help="The run's folder, exactly there.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where run folders are made, instead of output.dir.", show_default=False),
    ] = None,
    jobs: Jobs = 1,
    on: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Run on the devices of this federation (fedsim edge init) instead of here.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the experiment that a scenario file describes, or all experiments of a study."""
    from fedsim.scenario.load import load, placed
    from fedsim.scenario.study_file import is_study

    screen = Screen.current()
    _refuse(bool(run_dir and out), "--run-dir names the folder itself: remove --out")
    if is_study(file):
        _refuse(on is not None, "--on is for scenarios: a study runs here")
        _refuse(seed is not None, "a study lists its own seeds: remove --seed")
        return run_study(file, sets or [], run_dir, out, jobs)
    _refuse(jobs > 1, "--jobs is for studies; workers of a run: --set compute.workers=N")
    changes = [*(sets or []), *([] if seed is None else [f"seed={seed}"])]
    scenario = load(file, changes)
    if not (screen.json or screen.quiet):
        screen.say(f"check   {file} ok")
    federation = None if on is None else Federation.load(on)
    folder = _folder(scenario, run_dir, out)
    with resumable(folder), placed(file, changes), _workers(scenario, federation is None):
        from fedsim.engine.run import run_scenario  # after the check: torch takes seconds

        with watching(screen) as watch:
            if federation is None:
                run_scenario(scenario, folder, watch)
            else:
                from fedsim.edge import drive

                drive.begin(scenario, folder, federation, watch)
    return _saved(folder, screen)


def resume(
    run: Run,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="rounds=N",
            help="Give a run, or all cells of a study, more rounds: N in all.",
            show_default=False,
        ),
    ] = None,
    jobs: Jobs = 1,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run a study's failed cells once more.")
    ] = False,
) -> None:
    """Continue an interrupted run or study from its last checkpoint, or give a run more rounds."""
    screen = Screen.current()
    rounds = _rounds(sets or [], run)
    if is_study_folder(run):
        return resume_study(run, jobs, retry_failed, rounds)
    folder = RunFolder.open(run)
    result = folder.result()
    if result is not None and rounds in (None, result.rounds):
        screen.note(f"{folder.path} is finished")
        if screen.json:
            screen.dump(result)
        else:
            for line in result_lines(result, folder.metrics()):
                screen.say(line)
        return screen.next(f"fedsim show {run}")
    from fedsim.scenario.load import pin_kernels

    with resumable(folder):
        pin_kernels(folder.scenario)  # before torch is loaded
        from fedsim.engine.run import resume_run

        with watching(screen) as watch:
            if is_on_devices(folder):
                from fedsim.edge import drive

                _refuse(rounds is not None, "a run on devices has the rounds that it began with")
                drive.go_on(folder, watch)
            else:
                resume_run(folder, watch, rounds)
    return _saved(folder, screen)


def _rounds(sets: list[str], run: Path) -> int | None:
    """Return how many rounds a run is to have; None where nothing is said of them."""
    rounds = None
    for text in sets:
        key, _, value = text.partition("=")
        _refuse(
            key.strip() != "rounds",
            f"resume changes rounds alone, not {key.strip()!r}: another scenario is a new run, "
            f"fedsim run {run / SCENARIO} --set {text}; to write one: fedsim init",
        )
        _refuse(not value.strip().isdecimal(), f"rounds is a count of rounds, not {value!r}")
        rounds = int(value)
    return rounds


def _workers(scenario: Scenario, here: bool) -> AbstractContextManager[None]:
    """Call the workers of a run that is sure to be on Ray: they load torch while we do."""
    compute = scenario.compute
    is_sure = compute.backend == "ray" or (compute.backend == "auto" and compute.address)
    if not (here and is_sure) or find_spec("ray") is None:
        return nullcontext()
    from fedsim.runtime.ray_pool import started_early

    return started_early(compute)


def _refuse(is_wrong: bool, why: str) -> None:
    if is_wrong:
        raise click.UsageError(why)


def _folder(scenario: Scenario, run_dir: Path | None, out: Path | None) -> RunFolder:
    if run_dir is not None:
        return RunFolder.create(run_dir)
    return new_folder(scenario.resolved(), out)


def _saved(folder: RunFolder, screen: Screen) -> None:
    if not (screen.json or screen.quiet):
        screen.say(f"saved   {folder.path}")
    screen.next(f"fedsim show {folder.path}")
