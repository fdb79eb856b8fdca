"""``fedsim report``: many runs, one page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.formatting import size
from fedsim.cli.screen import Screen
from fedsim.errors import RunFolderError

if TYPE_CHECKING:
    from fedsim.analysis.collect import Collection

__all__ = ["report"]

Folder = Path | None


def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="A study, or runs, or folders of runs."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page.")] = Path("report.html"),
    csv: Annotated[Folder, typer.Option("--csv", help="Write tables there.")] = None,
    latex: Annotated[Folder, typer.Option("--latex", help="Write booktabs tables there.")] = None,
    svg: Annotated[Folder, typer.Option("--svg", help="Write every figure there.")] = None,
    baseline: Annotated[
        str, typer.Option(help="What the others are compared with.", show_default=False)
    ] = "",
    times: Annotated[
        bool, typer.Option("--times", help="Show seconds too; they differ with every run.")
    ] = False,
) -> None:
    """Compare runs on one self-contained page, with intervals and tests."""
    from fedsim.analysis.collect import collect

    screen = Screen.current()
    options = {"baseline": baseline} if baseline else {}
    collection = collect(runs, **options)
    if baseline and baseline not in collection.levels:
        raise RunFolderError(
            f"no {collection.axis} is called {baseline!r}; there are {', '.join(collection.levels)}"
        )
    if times and "seconds" not in collection.question.x:
        collection = collect(runs, **options, x=(*collection.question.x, "seconds"))
    paths = _write(collection, output, {"csv": csv, "latex": latex, "svg": svg})
    for name, why in collection.left_out:
        screen.note(f"left out: {name} {why}", "yellow")
    if screen.json:
        return screen.dump({"written": paths, "left_out": dict(collection.left_out)})
    screen.say(" · ".join(f"{path} {size(path.stat().st_size)}" for path in paths[:2]))
    if paths[2:]:
        screen.say("  ".join(map(str, paths[2:])))
    return screen.next(f"open {output} in a browser")


def _write(collection: Collection, output: Path, more: dict[str, Path | None]) -> list[Path]:
    """Write the page, its numbers beside it, and whatever else is asked for."""
    from fedsim.report import export
    from fedsim.report.html import render
    from fedsim.report.page import page_of
    from fedsim.runlog import files

    is_private = any(trial.scenario.get("privacy") for trial in collection.trials)
    if is_private:  # accounting takes a package of its own, and a second
        from fedsim.study.spent import spendings
    page = page_of(collection, spendings(collection) if is_private else ())
    output.parent.mkdir(parents=True, exist_ok=True)
    beside = output.with_suffix(".json")
    files.write(output, render(page))
    files.write(beside, export.numbers(page))
    paths = [output, beside]
    writers = {"csv": export.write_csv, "latex": export.write_latex, "svg": export.write_svg}
    for kind, folder in more.items():
        if folder is not None:
            paths += writers[kind](page, folder)
    return paths
