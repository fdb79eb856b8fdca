"""The report's numbers for other programs and for papers: JSON, CSV, LaTeX, SVG."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedsim.analysis.compare import Comparison, Standing
from fedsim.errors import RunFolderError
from fedsim.report.page import Page
from fedsim.report.svg import shorten
from fedsim.runlog import files
from fedsim.runlog.files import plain

__all__ = ["latex", "numbers", "write_csv", "write_latex", "write_svg"]


def numbers(page: Page) -> Any:
    """Return the page's numbers as plain values: what ``report.json`` holds."""
    comparison = page.comparison
    collection = comparison.collection
    return plain(
        {
            "format": 1,
            "title": collection.title,
            "axis": collection.axis,
            "levels": collection.levels,
            "settings": collection.settings,
            "seeds": collection.seeds,
            "question": collection.question,
            "answer": page.answer,
            "notes": page.notes,
            "places": comparison.places,
            "references": comparison.references,
            "baseline": comparison.baseline,
            "tests": comparison.tests,
            "ranks": comparison.ranks,
            "reached": comparison.reached,
            "best_rounds": comparison.best,
            "costs": [
                {"level": level, "setting": setting, **cost}
                for (level, setting), cost in _costs(comparison).items()
            ],
            "clients": page.spreads,
            "privacy": page.spendings,
            "deals": [
                {"setting": entry.setting, "seed": entry.seed, "label_skew": entry.label_skew}
                for entry in page.partition_figures
            ],
            "domains": page.domains.rows if page.domains else [],
            "tuning": [
                {name: value for name, value in vars(entry).items() if name != "log"}
                for entry in collection.tuned
            ],
            "runs": page.provenance.runs,
            "left_out": [{"run": name, "why": why} for name, why in collection.left_out],
        }
    )


def _costs(comparison: Comparison) -> dict[tuple[str, str], dict[str, float]]:
    """Return the costs, and times only where they were asked for: no machine has them twice."""
    timed = "seconds" in comparison.collection.question.x
    return {
        cell: {name: value for name, value in cost.items() if timed or name != "seconds"}
        for cell, cost in comparison.costs.items()
    }


def write_csv(page: Page, folder: Path) -> list[Path]:
    """Write ``cells.csv``, ``rounds.csv`` and ``clients.csv``, every run that is there in them.

    Raises:
        MissingPackage: if pandas is not installed.
        RunFolderError: if the folder cannot be made.
    """
    from fedsim.analysis.frames import frames_of

    frames = frames_of(page.comparison.collection)
    _made(folder)
    written = []
    for name in ("cells", "rounds", "clients"):
        frame = getattr(frames, name)
        if len(frame):
            files.write(folder / f"{name}.csv", frame.to_csv(index=False))
            written.append(folder / f"{name}.csv")
    return written


def write_svg(page: Page, folder: Path) -> list[Path]:
    """Write every figure as a file of its own.

    Raises:
        RunFolderError: if the folder cannot be made.
    """
    _made(folder)
    for drawing in page.drawings:
        files.write(folder / f"{drawing.name}.svg", drawing.svg)
    return [folder / f"{drawing.name}.svg" for drawing in page.drawings]


def write_latex(page: Page, folder: Path) -> list[Path]:
    """Write ``main.tex`` and ``tests.tex``, tables for the package ``booktabs``.

    Raises:
        RunFolderError: if the folder cannot be made.
    """
    _made(folder)
    tables = {"main.tex": _main(page.comparison)}
    if page.comparison.tests:
        tables["tests.tex"] = _tests(page.comparison)
    for name, text in tables.items():
        files.write(folder / name, text)
    return [folder / name for name in tables]


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot make {folder}: {error.strerror}") from error


def _main(comparison: Comparison) -> str:
    collection = comparison.collection
    head = [collection.axis, *(setting or "all runs" for setting in collection.settings)]
    rows = [
        [
            latex(level),
            *(_cell(comparison.place(level, setting)) for setting in collection.settings),
        ]
        for level in collection.levels
    ]
    metric = collection.compared.info.title
    caption = (
        f"{latex(metric[0].upper() + metric[1:])}, mean over {len(collection.seeds)} seeds and "
        f"half of the {collection.question.ci * 100:g} % interval. Bold: the paired difference "
        "to every other excludes zero."
    )
    return _table([latex(shorten(name)) for name in head], rows, caption)


def _cell(place: Standing) -> str:
    lost = ", ".join(f"{n} {state}" for state, n in place.states.items() if state != "finished")
    if place.interval is None:
        return rf"\textit{{{latex(lost)}}}" if lost else "--"
    half = place.interval.half
    mean = f"{place.interval.mean:.3f}"
    mean = rf"\mathbf{{{mean}}}" if place.is_apart else mean
    value = f"${mean}$" if half is None else rf"${mean} \pm {half:.3f}$"
    return value + (rf" \textit{{({latex(lost)})}}" if lost else "")


def _tests(comparison: Comparison) -> str:
    head = [comparison.collection.axis, "setting", "pairs", "difference", "$p$", "adjusted", "$g$"]
    rows = []
    for test in comparison.tests:
        result = test.found
        half = "" if result.difference.half is None else rf" \pm {result.difference.half:.4f}"
        rows.append(
            [
                latex(test.level),
                "all settings" if test.blocked else latex(test.setting),
                str(result.difference.n),
                f"${result.difference.mean:.4f}{half}$",
                *(
                    f"${value:.3f}$" if value is not None else "--"
                    for value in (result.p, test.adjusted)
                ),
                f"${result.effect:.2f}$" if result.effect is not None else "--",
            ]
        )
    caption = (
        f"Paired differences to {comparison.baseline} ({comparison.tests[0].found.test} test)."
    )
    return _table(head, rows, caption)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    lines = [" & ".join(row) + r" \\" for row in (head, *rows)]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{latex(caption, 400)}}}",
            rf"\begin{{tabular}}{{l{'l' * (len(head) - 1)}}}",
            r"\toprule",
            lines[0],
            r"\midrule",
            *lines[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


_SIGNS = {
    **{sign: f"\\{sign}" for sign in "#$%&_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': "''"},
    **{"·": r"$\cdot$", "±": r"$\pm$", "…": r"\dots{}", "\u2013": "--", "\u2019": "'"},
    **{"-": "-{}", "[": "{[}", "]": "{]}", "`": r"\textasciigrave{}"},
}
_ACCENTS = {
    **{"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0304": "="},
    **{"\u0307": ".", "\u0308": '"', "\u030a": "r", "\u030b": "H", "\u030c": "v"},
    **{"\u0306": "u", "\u0327": "c", "\u0328": "k"},
}


def latex(text: str, most: int = 60) -> str:
    r"""Return ``text`` to stand in LaTeX, whatever is in it, with pdfTeX's own letters alone.

    >>> print(latex("50% of A_1 & é"))
    50\% of A\_1 \& \'{e}
    """
    return "".join(map(_letter, shorten(re.sub(r"\s+", " ", text), most)))


def _letter(sign: str) -> str:
    if sign in _SIGNS:
        return _SIGNS[sign]
    if " " <= sign <= "~":
        return sign
    base, marks = (parts := unicodedata.normalize("NFD", sign))[0], parts[1:]
    if len(marks) == 1 and base.isascii() and base.isalpha() and marks[0] in _ACCENTS:
        return f"\\{_ACCENTS[marks[0]]}{{{base}}}"
    return f"{{[}}U+{ord(sign):04X}{{]}}"  # a script that pdfTeX has no font for
