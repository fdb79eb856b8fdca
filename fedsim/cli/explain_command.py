"""``fedsim explain`` and ``fedsim schema``: what a scenario or a study may say."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from fedsim.cli.screen import Screen

__all__ = ["explain", "schema"]


class _SchemaKind(StrEnum):
    """What a file can be."""

    scenario = "scenario"
    study = "study"


Kind = Annotated[_SchemaKind, typer.Option("--kind", help="Of which kind of file.")]


def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Dotted, such as clients.per_round; none: all.")
    ] = "",
    kind: Kind = _SchemaKind.scenario,
) -> None:
    """Explain a key of the scenario: its meaning, allowed values and default."""
    from fedsim.scenario.explain_study import explain_study
    from fedsim.scenario.key_help import explain as explained

    screen = Screen.current()
    is_study = kind is _SchemaKind.study
    text = explain_study(key) if is_study else explained(key)
    if screen.json:
        screen.dump({"key": key, "text": text})
    else:
        screen.say(text)
    screen.next(f"fedsim {'check study.yaml' if is_study else 'run scenario.yaml --set KEY=VALUE'}")


def schema(kind: Kind = _SchemaKind.scenario) -> None:
    """Print the JSON Schema of a scenario or a study, for editors."""
    from fedsim.scenario.explain_study import study_schema
    from fedsim.scenario.key_help import json_schema

    screen = Screen.current()
    is_study = kind is _SchemaKind.study
    screen.dump(study_schema() if is_study else json_schema())
    words = "fedsim schema" + " --kind study" * is_study
    screen.next(f"{words} > {kind}.schema.json, and name that file in your editor")
