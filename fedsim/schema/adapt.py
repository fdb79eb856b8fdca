"""The section ``adapt`` of a scenario: which round's model is the result, and how it is chosen."""

from __future__ import annotations

from typing import Literal

from fedsim.schema.part import Section

__all__ = ["Adapt", "Select"]

Select = Literal["last", "source_val", "entropy", "dev"]


class Adapt(Section):
    """What adapts to the targets is the strategy; who is one is said under data.partition."""

    select: Select = "last"
    """Which round's model is the result: the last, or the best by the sources' validation parts
    (source_val), by how sure it is of the targets (entropy, dev too); never by targets' labels."""
