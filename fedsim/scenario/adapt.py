"""The section ``adapt`` of a scenario: which round's model is the result, and by whose leave."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel

from fedsim.scenario.privacy import SECTION

if TYPE_CHECKING:
    from fedsim.scenario.node import Node

__all__ = ["Adapt", "Select", "wrong"]

Select = Literal["last", "source_val", "entropy", "dev"]


class Adapt(BaseModel):
    """What adapts to the targets is the strategy; who is one is said under data.partition."""

    model_config = SECTION

    select: Select = "last"
    """Which round's model is the result: the last, or the best by the sources' validation parts
    (source_val), by how sure it is of the targets (entropy, dev too); never by targets' labels."""


def wrong(tree: Node) -> Iterator[tuple[str, str]]:
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
