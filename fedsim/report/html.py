"""The report as one HTML file: no script, no network, nothing that a name could smuggle in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.analysis.spending import by_statement
from fedsim.errors import MissingPackage
from fedsim.report.svg import COLOURS, dash

if TYPE_CHECKING:
    from fedsim.analysis.statistics import Interval
    from fedsim.report.page import Page

__all__ = ["number", "p_value", "render", "size", "spread"]


NONE = "\u2013"
"""Where there is no number."""


def render(page: Page) -> str:
    """Return the page; the same numbers give the same bytes.

    Raises:
        MissingPackage: if jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise MissingPackage(
            "the report needs jinja2; install it with: pip install 'fedsim[sim]'"
        ) from error
    world = Environment(
        loader=PackageLoader("fedsim.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    world.filters |= {"spread": spread, "number": number, "p": p_value, "size": size}
    world.globals |= {
        "colours": len(COLOURS),
        "dash": _key_dash,
        "by_statement": by_statement,
        "svg": lambda drawing: Markup(drawing.inline),  # matplotlib has escaped its texts
    }
    comparison = page.comparison
    template = world.get_template("report.html.j2")
    return (
        template.render(
            page=page,
            made=comparison,
            all=comparison.collection,
            compared=comparison.collection.compared,
        )
        + "\n"
    )


def _key_dash(index: int) -> str:
    """Return a level's dashes for a line three wide: lengths are in widths of the line."""
    return ",".join(str(3 * length) for length in dash(index))


def number(value: float | None, digits: int = 3) -> str:
    """Return a number; a dash where there is none, and a true minus sign."""
    return NONE if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def spread(interval: Interval | None, digits: int = 3) -> str:
    """Return a mean with half of its interval: ``0.912 ± 0.010``."""
    if interval is None:
        return NONE
    mean = number(interval.mean, digits)
    return mean if interval.half is None else f"{mean} ± {number(interval.half, digits)}"


def p_value(value: float | None) -> str:
    """Return a p-value."""
    if value is None:
        return NONE
    return "< 0.001" if value < 0.001 else f"{value:.3g}"


def size(count: float) -> str:
    """Return a number of bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
