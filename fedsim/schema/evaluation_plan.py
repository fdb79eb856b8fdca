"""The section ``evaluation`` of a scenario: when the model is evaluated, on what, by what."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge
from pydantic import Field

from fedsim.schema.part import Section

__all__ = ["Evaluation", "Texts"]

Texts = Annotated[tuple[str, ...], Field(strict=False)]


class Evaluation(Section):
    """When the model is evaluated, and on what."""

    every: Annotated[int, Ge(1)] = 1
    """Rounds between evaluations on the server's test set; the last round is always one."""
    clients: Annotated[int, Ge(0)] = 0
    """Rounds between evaluations on every client's own test part; 0: never."""
    part: Literal["test", "val"] = "test"
    """Which of their own parts clients are evaluated on; with `val` no target's labels are used."""
    keep_best: bool = False
    """Keep the weights of the round that is best on the clients' validation parts (`part: val`),
    beside the last ones; the test set and targets' labels never choose."""
    metrics: Texts = ()
    """What is measured, the primary metric first; empty: the task's own metrics."""
    targets: dict[str, float] = Field(default={})
    """Values to reach, such as {accuracy: 0.9}: rounds and bytes until then are reported."""
