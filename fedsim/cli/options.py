"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["File", "Run", "Set"]

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="The scenario file.", show_default=False)
]

Run = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="The run's folder, such as runs/demo/latest.", show_default=False
    ),
]

Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the scenario: --set clients.count=100. May be repeated.",
        show_default=False,
    ),
]
