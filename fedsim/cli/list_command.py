"""``fedsim list``: the plug-ins that a scenario can name, and their parameters."""

from __future__ import annotations

import ast
import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from fedsim.cli.screen import Screen

__all__ = ["shelves"]


class ShelfKind(StrEnum):
    """What there are several of, in the plural."""

    strategies = "strategies"
    clients = "clients"
    models = "models"
    optimizers = "optimizers"
    schedules = "schedules"
    augmentations = "augmentations"
    stop_rules = "stop_rules"
    sources = "sources"
    partitions = "partitions"
    samplers = "samplers"
    shifts = "shifts"
    trackers = "trackers"
    tasks = "tasks"

    @property
    def one(self) -> str:
        """The word for one of them, as the registry knows it."""
        return "strategy" if self is ShelfKind.strategies else self.value.removesuffix("s")


_KEYS = {
    "strategy": "strategy",
    "client": "local",
    "model": "model",
    "optimizer": "local.optimizer",
    "schedule": "local.schedule",
    "augmentation": "local.augment",
    "stop_rule": "local.stop",
    "source": "data.source",
    "partition": "data.partition",
    "sampler": "clients.sampler",
    "shift": "data.feature_shift",
    "task": "task",
    "tracker": "tracking",
}
"""Where a scenario names one."""


def shelves(
    kind: Annotated[ShelfKind, typer.Argument(metavar="KIND", help=", ".join(ShelfKind))],
) -> None:
    """List what a scenario can name, with its parameters and their defaults."""
    from fedsim.plugins.registry import describe, names

    screen = Screen.current()
    signatures = {name: describe(kind.one, name) for name in names(kind.one)}
    if screen.json:
        return screen.dump(
            [
                {
                    "name": name,
                    "doc": _about(kind.one, name, signature),
                    "parameters": _parameters(signature),
                }
                for name, signature in signatures.items()
            ]
        )
    for name, signature in signatures.items():
        screen.say(name, "bold")
        screen.say(f"    {_about(kind.one, name, signature)}")
        for parameter in _parameters(signature):
            what = f"{parameter['name']}: {parameter['type']}"
            if "default" in parameter:
                what += f", by default {json.dumps(parameter['default'])}"
            screen.say(f"      {what}", "dim")
    key = _KEYS[kind.one]
    are_listed = kind in (ShelfKind.trackers, ShelfKind.augmentations)
    change = f"{key}=[NAME]" if are_listed else f"{key}.use=NAME"
    return screen.next(f"fedsim explain {key}, or --set '{change}' with any command")


def _about(kind: str, name: str, signature: Any) -> str:
    """Return the first sentence of the plug-in's file, or of its class where it shares a file."""
    from fedsim.plugins.python_file import locate
    from fedsim.plugins.registry import SHELVES

    file = locate(f"{SHELVES[kind].module}.{name}")
    doc = ast.get_docstring(file.tree) if file else None
    return " ".join((doc or signature.doc).split("\n\n")[0].split())


def _parameters(signature: Any) -> list[dict[str, Any]]:
    from fedsim.plugins.signature import COMPUTED, REQUIRED
    from fedsim.schema.wording import expected

    listed = []
    for parameter in signature.parameters.values():
        entry = {"name": parameter.name, "type": expected(parameter.type), "doc": parameter.doc}
        if parameter.default is COMPUTED:
            entry["default"] = "computed"
        elif parameter.default is not REQUIRED:
            entry["default"] = parameter.plain(parameter.default)
        listed.append(entry)
    return listed
