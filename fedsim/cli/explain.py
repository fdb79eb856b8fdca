"""``fedsim explain`` and ``fedsim schema``: what a scenario may say."""

from __future__ import annotations

from typing import Annotated

import typer

from fedsim.cli.screen import Screen

__all__ = ["explain", "schema"]


def explain(
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Dotted, such as clients.per_round; none: all.")
    ] = "",
) -> None:
    """Say what a key of the scenario means, what it may be and what it is by default."""
    from fedsim.scenario.explain import explain as explained

    screen = Screen.current()
    text = explained(key)
    if screen.json:
        screen.dump({"key": key, "text": text})
    else:
        screen.say(text)
    screen.next("fedsim run scenario.yaml --set KEY=VALUE")


def schema() -> None:
    """Print the JSON Schema of a scenario, for editors."""
    from fedsim.scenario.explain import json_schema

    screen = Screen.current()
    screen.dump(json_schema())
    screen.next("fedsim schema > scenario.schema.json, and name that file in your editor")
