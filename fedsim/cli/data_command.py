"""``fedsim data``: which client holds how much, and public data sets by name."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedsim.cli.options import File, Set
from fedsim.cli.screen import Screen
from fedsim.errors import DataError

if TYPE_CHECKING:
    from fedsim.data.catalogue_entries import RemoteFile

__all__ = ["entries", "get", "preview"]


def preview(
    file: File,
    sets: Set = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="Also draw it, as .svg, .png or .pdf."),
    ] = None,
) -> None:
    """Show how many examples of each label every client would hold."""
    from fedsim.scenario.load import load

    screen = Screen.current()
    scenario = load(file, sets or [])
    from fedsim.data.federated import prepare
    from fedsim.data.preview import draw, text

    with tempfile.TemporaryDirectory(prefix="fedsim-") as store:
        data = prepare(scenario, Path(store, "data"))
        if screen.json:
            screen.dump({"sha256": data.digest, "counts": data.counts().tolist()})
        else:
            screen.say(text(data))
        if output is not None:
            draw(data, output)
            screen.note(f"drawn   {output}")
    screen.next(f"fedsim run {file}")


def get(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `fedsim data list` shows it.")],
    mirror: Annotated[
        str, typer.Option("--from", metavar="URL", help="Where its files are instead.")
    ] = "",
) -> None:
    """Download a data set of the catalogue; no other command does."""
    from rich.progress import Progress, TaskID

    from fedsim.data.catalogue_entries import checksums_in, entry_named
    from fedsim.data.download import download, from_mirror

    screen = Screen.current()
    entry = entry_named(name)
    if not screen.json:
        screen.note(f"{entry.name}: {entry.title}\nlicence {entry.licence}; {entry.page}")
    with Progress(console=screen.err, transient=True, disable=screen.quiet) as progress:
        bars: dict[str, TaskID] = {}

        def report(file: RemoteFile, received: int, total: int | None) -> None:
            if file.name not in bars:
                bars[file.name] = progress.add_task(file.name)
            progress.update(bars[file.name], completed=received, total=total)

        folder = download(from_mirror(entry, mirror) if mirror else entry, report)
    checksums = checksums_in(folder)
    if screen.json:
        return screen.dump({"name": entry.name, "folder": str(folder), "sha256": checksums})
    for file, checksum in checksums.items():
        screen.say(f"{checksum}  {folder / file}")
    task = f", task: {entry.task}" if entry.task != "classification" else ""
    return screen.next(f"say data: {{source: catalogue:{entry.name}}}{task} in a scenario")


def entries() -> None:
    """List the public data sets that are known by name, and which are here."""
    from fedsim.data.catalogue_entries import catalogue, catalogue_folder, local_files

    screen = Screen.current()
    present = {}
    for name, entry in catalogue().items():
        try:
            present[name] = bool(local_files(entry, is_checked=False))
        except DataError:
            present[name] = False
    if screen.json:
        return screen.dump(
            [{**vars(entry), "is_here": present[name]} for name, entry in catalogue().items()]
        )
    head = ["name", "task", "examples", "here", "licence", "what"]
    rows = [
        [
            name,
            entry.task,
            f"{entry.rows + entry.test_rows:,}",
            "yes" if present[name] else "no",
            entry.licence,
            entry.title,
        ]
        for name, entry in catalogue().items()
    ]
    screen.table(head, rows, frozenset({"examples"}))
    screen.note(f"files are in {catalogue_folder()}, or where FEDSIM_DATA says")
    return screen.next("fedsim data get NAME")
