"""``fedsim data preview``: which client holds how much, before anything is trained."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer

from fedsim.cli.options import File, Set
from fedsim.cli.screen import Screen

__all__ = ["preview"]


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
