"""Small figures as SVG text: same numbers, same bytes; colours follow the page they stand in."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedsim.errors import MissingPackage

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "GRID", "INK", "MARKERS", "Drawing", "dash", "draw", "shorten"]

COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#7a68b8",
    "#6b7075",
)
"""Okabe and Ito's, which colour-blind readers tell apart, and two more."""
MARKERS = "osD^vPX*"
_DASHES = ("", "5 2", "1 1", "5 1 1 1", "8 2", "2 2", "6 1 1 1 1 1", "3 1")
INK, GRID = "#1a1b1c", "#d9d8d7"
_FAMILY = "system-ui, sans-serif"


@dataclass(frozen=True)
class Drawing:
    """A figure."""

    name: str
    """For a file."""
    title: str
    """Above it; empty where the page says enough."""
    about: str
    """For those who cannot see it."""
    svg: str
    """A document of its own, in its own colours."""

    @property
    def inline(self) -> str:
        """The figure to stand in a page, in the page's colours."""
        text = self.svg[self.svg.index("<svg") :]
        for number, colour in enumerate(COLOURS):
            text = text.replace(colour, f"var(--c{number})")
        text = text.replace(INK, "currentColor").replace(GRID, "var(--line)")
        # What nothing points to needs no name, and two figures of one page would share it.
        pointed = set(re.findall(r"#([\w.-]+)", text))
        return re.sub(r' id="([^"]*)"', lambda n: n[0] if n[1] in pointed else "", text).strip()


def draw(name: str, title: str, about: str, fill: Callable[[Axes], None], **size: float) -> Drawing:
    """Return the figure that ``fill`` draws into one pair of axes.

    Args:
        name: of the file it may become; also the salt of its inner names.
        title: to stand above it.
        about: what is to be seen, in words.
        fill: draws.
        size: ``width`` and ``height`` in inches, and how much is ``left`` for labels.

    Raises:
        MissingPackage: if matplotlib is not installed.
    """
    with _style(name):
        from matplotlib.figure import Figure

        inches = (size.get("width", 4.6), size.get("height", 2.9))
        figure = Figure(figsize=inches)
        # Room for the labels is known; to measure it would draw everything twice.
        left, below = size.get("left", 0.62) / inches[0], 0.46 / inches[1]
        axes = figure.add_axes((left, below, 0.985 - left, 0.97 - below))
        fill(axes)
        buffer = io.StringIO()
        dropped = {"Date": None, "Creator": None, "Format": None, "Type": None}
        figure.savefig(buffer, format="svg", transparent=True, metadata=dropped)
    return Drawing(name, title, about, _tidied(buffer.getvalue(), about))


@contextmanager
def _style(salt: str) -> Iterator[None]:
    try:
        from matplotlib import rc_context
    except ImportError as error:
        raise MissingPackage(
            "figures need matplotlib; install it with: pip install 'fedsim[sim]'"
        ) from error
    rules: Any = {
        **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
        **{"axes.labelcolor": INK, "axes.edgecolor": INK, "axes.linewidth": 0.6},
        **{"axes.spines.top": False, "axes.spines.right": False},
        **{"axes.grid": True, "grid.color": GRID, "grid.linewidth": 0.6},
        **{"font.size": 9, "lines.linewidth": 1.6, "text.parse_math": False},
        **{"svg.fonttype": "none", "svg.hashsalt": f"fedsim-{salt}", "figure.dpi": 72},
        **{"axes.formatter.use_mathtext": False, "axes.axisbelow": True},
        **{"axes.unicode_minus": False, "path.simplify": True},
    }
    with rc_context(rules), warnings.catch_warnings():
        # Text stays text: which letters the reader's font has is the reader's matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        warnings.filterwarnings("ignore", message=".*identical low and high")
        yield


def _tidied(svg: str, about: str) -> str:
    from xml.sax.saxutils import escape

    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!DOCTYPE[^>]*>\s*", "", svg)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r"font-family: [^;\"]*", f"font-family: {_FAMILY}", svg)
    svg = re.sub(r' transform="rotate\(-0 [^)]*\)"', "", svg)
    svg = re.sub(r' d="([^"]*)"', lambda match: f' d="{_rounded(match[1])}"', svg)
    svg = re.sub(r'<svg ([^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"<svg \1", svg)
    label = escape(about, {'"': "&quot;"})
    svg = svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)
    return re.sub(r"\n\s*", "\n", svg)


def _rounded(path: str) -> str:
    numbers = re.sub(r"-?\d+\.\d{3,}", lambda match: f"{float(match[0]):.2f}", path)
    return " ".join(numbers.split())


def dash(index: int) -> tuple[int, ...]:
    """Return how a level's line is broken, in widths of it: told apart without colours too."""
    turn = index + index // len(COLOURS)  # the ninth has the first one's colour
    return tuple(map(int, _DASHES[turn % len(_DASHES)].split()))


def shorten(name: str, most: int = 40) -> str:
    """Return ``name``, or its beginning where it is too long for a figure or a table.

    >>> shorten("abcdef", 4)
    'abc…'
    """
    return name if len(name) <= most else f"{name[: most - 1]}…"
