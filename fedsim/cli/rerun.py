"""``fedsim rerun``: the same run once more, and whether the same comes of it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.options import Run
from fedsim.cli.screen import Screen
from fedsim.cli.watch import watching
from fedsim.errors import RunError, RunFolderError
from fedsim.report.diff import first_apart
from fedsim.report.folder import RunFolder

if TYPE_CHECKING:
    from fedsim.report.events import Result

__all__ = ["rerun"]

_HASHES = ("metrics_sha256", "weights_sha256")


def rerun(
    run: Run,
    verify: Annotated[
        bool, typer.Option("--verify", help="Compare with the run and keep nothing.")
    ] = False,
) -> None:
    """Repeat a run from its resolved scenario, and say whether the same comes of it.

    With --verify the repetition is thrown away, and a difference is an error (exit code 4).
    """
    from fedsim.scenario.load import load

    screen = Screen.current()
    before = RunFolder.open(run)
    expected = before.result()
    if expected is None:
        raise RunFolderError(f"{before.path} is not finished; go on with: fedsim resume {run}")
    scenario = load(before.scenario, ["tracking=[]"] if verify else [])
    with tempfile.TemporaryDirectory(prefix="fedsim-") as folder:
        after = RunFolder(Path(folder))
        if not verify:
            digest = expected.metrics_sha256
            after = RunFolder.new(Path(scenario.output.dir), scenario.name, digest)
        from fedsim import simulation

        with watching(screen) as watch:
            result = simulation.run(scenario, after, watch)
        _compare(expected, result, (before, after), verify)
    screen.note(f"the same as {before.path}: metrics and weights, to the last bit", "green")


def _compare(
    expected: Result, result: Result, runs: tuple[RunFolder, RunFolder], verify: bool
) -> None:
    apart = [name for name in _HASHES if getattr(expected, name) != getattr(result, name)]
    if not apart:
        return
    round_ = first_apart(*runs)
    where = f", first in round {round_}" if round_ else ""
    kept = "" if verify else f"; the new one is {runs[1].path}"
    raise RunError(
        f"{runs[0].path} cannot be repeated: {' and '.join(apart)} differ{where} "
        f"(accuracy {expected.accuracy:.6f} then, {result.accuracy:.6f} now){kept}"
    )
