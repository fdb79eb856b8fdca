"""Tests of levels against a baseline, and their p-values, answering for a whole table."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedsim.analysis.statistics import Paired, holm

__all__ = ["SignificanceTest", "adjusted"]


@dataclass(frozen=True)
class SignificanceTest:
    """One level against the baseline."""

    level: str
    setting: str
    """Empty with ``blocked``: over all settings."""
    blocked: bool
    found: Paired
    adjusted: float | None
    """The p-value, answering for all of its table."""


def adjusted(tests: list[SignificanceTest], correction: str) -> list[SignificanceTest]:
    """Return the tests with p-values adjusted together; as they are if one has none.

    Args:
        tests: of one table.
        correction: ``holm``, or anything else for none.
    """
    p_values = [test.found.p for test in tests if test.found.p is not None]
    if correction != "holm" or len(p_values) < len(tests):
        return tests
    return [replace(t, adjusted=p) for t, p in zip(tests, holm(p_values), strict=True)]
