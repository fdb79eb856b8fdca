"""``fedsim rerun``: repeat a run and compare the results."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from fedsim.analysis.run_diff import first_apart
from fedsim.cli.options import Run
from fedsim.cli.progress import watching
from fedsim.cli.screen import Screen
from fedsim.errors import RunError, RunFolderError
from fedsim.runlog.events import RoundDone
from fedsim.runlog.rounds import metrics_sha256
from fedsim.runlog.run_folder import RunFolder

if TYPE_CHECKING:
    from fedsim.runlog.events import Event, Result

__all__ = ["rerun"]

_HASHES = ("metrics_sha256", "weights_sha256")


def rerun(
    run: Run,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the run and keep nothing.")
    ] = False,
    rounds: Annotated[
        int | None,
        typer.Option(min=1, help="With --verify: compare the first rounds.", show_default=False),
    ] = None,
) -> None:
    """Repeat a run from its resolved scenario and compare the results.

    With --verify the repetition is thrown away, and a difference is an error (exit code 4).
    """
    if rounds is not None:
        if not verify:
            raise click.UsageError(
                "--rounds works with --verify only: a shortened run is not saved"
            )
        return _verify_first(RunFolder.open(run), rounds)
    from fedsim.scenario.load import load

    screen = Screen.current()
    before = RunFolder.open(run)
    expected = before.result()
    if expected is None:
        raise RunFolderError(f"{before.path} is not finished; go on with: fedsim resume {run}")
    changes = ["tracking=[]"] if verify else []
    if settled := before.read_json("cohort.json"):  # found by a trial, which may end otherwise now
        changes.append(f"compute.cohort={settled['cohort']}")
    if settled := before.read_json("compiled.json"):
        changes.append(f"compute.compile={'on' if settled['use'] else 'off'}")
    scenario = load(before.scenario, changes)
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        after = RunFolder(Path(folder))
        if not verify:
            digest = expected.metrics_sha256
            after = RunFolder.new(Path(scenario.output.dir), scenario.name, digest)
        from fedsim.engine.run import run_scenario

        with watching(screen) as watch:
            result = run_scenario(scenario, after, watch)
        _compare(expected, result, (before, after), verify)
    screen.note(f"the same as {before.path}: metrics and weights, to the last bit", "green")


class _EnoughError(Exception):
    """Ends a repetition at the round that was asked for."""


def _verify_first(before: RunFolder, rounds: int) -> None:
    """Repeat the first rounds, as the whole run would do them, and compare their metrics.

    An unfinished run can be held against its repetition too.
    """
    from fedsim.scenario.load import load

    screen, expected = Screen.current(), before.rounds()[:rounds]
    if not expected:
        raise RunFolderError(f"{before.path} has no finished round to compare with")
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        scenario = load(before.scenario, ["tracking=[]"])  # pins kernels, before torch is loaded
        from fedsim.engine.run import run_scenario

        with watching(screen) as watch, suppress(_EnoughError):

            def until(event: Event) -> None:
                watch(event)
                if isinstance(event, RoundDone) and event.record.round == len(expected):
                    raise _EnoughError

            run_scenario(scenario, RunFolder(Path(folder)), until)
        repeated = RunFolder(Path(folder)).rounds()
    for old, new in zip(expected, repeated, strict=True):
        if metrics_sha256([old]) != metrics_sha256([new]):
            raise RunError(f"{before.path} cannot be repeated: round {old.round} differs")
    many = f"the first {len(expected)} rounds" if len(expected) > 1 else "the first round"
    screen.note(f"the same as {before.path}: {many}, to the last bit", "green")


def _compare(
    expected: Result, result: Result, runs: tuple[RunFolder, RunFolder], verify: bool
) -> None:
    differing = [name for name in _HASHES if getattr(expected, name) != getattr(result, name)]
    if expected.best != result.best:
        differing.append("best")
    if not differing:
        return
    round_, name = first_apart(*runs), next(iter(expected.metrics))
    where = f", first in round {round_}" if round_ else ""
    where_kept = "" if verify else f"; the new one is {runs[1].path}"
    raise RunError(
        f"{runs[0].path} cannot be repeated: {' and '.join(differing)} differ{where} "
        f"({name} {expected.metrics[name]:.6f} then, {result.metrics[name]:.6f} now){where_kept}"
    )
