"""What is wrong between the section ``adapt`` of a scenario and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedsim.scenario.node import YamlNode

__all__ = ["wrong"]


def wrong(tree: YamlNode) -> Iterator[tuple[str, str]]:
    """Yield the keys of the section that do not fit the rest, and why."""

    def value(key: str) -> object:
        node = tree.at(key.split("."))
        return None if node is None else node.plain()

    select = value("adapt.select")
    if select in (None, "last"):
        return
    if value("privacy") is not None:
        yield "adapt.select", "looks at clients' examples without noise: under privacy it is last"
    if select in ("source_val", "dev") and value("data.holdout.client_val") in (None, "0%", 0):
        yield "adapt.select", f"{select} needs validation parts: data.holdout.client_val is 0%"
