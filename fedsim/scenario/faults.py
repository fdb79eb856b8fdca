"""Faults as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from fedsim.errors import Fault
from fedsim.schema.wording import plural

__all__ = ["as_json", "render"]

WIDEST = 100


def render(faults: Iterable[Fault]) -> str:
    """Return the faults as text: where, what, the line with a caret, and what would be right."""
    blocks = [_block(fault) for fault in faults]
    count = plural(len(blocks), "error")
    last = f"{count}. Nothing was run. `fedsim explain KEY` describes any key."
    return "\n".join([*blocks, last])


def as_json(faults: Iterable[Fault]) -> list[dict[str, str | int]]:
    """Return the faults as plain values, for ``--format json``."""
    return [asdict(fault) for fault in faults]


def _block(fault: Fault) -> str:
    place = f"{fault.file}:{fault.line}:{fault.column}" if fault.line else fault.file
    lines = ["error: " + ": ".join(word for word in (place, fault.key, fault.message) if word)]
    if fault.source and fault.column <= WIDEST:
        source = fault.source[:WIDEST].rstrip()
        # Tabs stay tabs, so that the caret is below its character in any terminal.
        indent = "".join("\t" if sign == "\t" else " " for sign in source[: fault.column - 1])
        lines += [f"{fault.line:>6} | {source}", f"       | {indent.ljust(fault.column - 1)}^"]
    return "\n".join([*lines, *(f"    {line}" for line in fault.hint.splitlines())])
