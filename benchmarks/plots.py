"""The pictures of docs/performance.md: time over cohort and over workers, memory over population.

    python benchmarks/plots.py --out docs/images
    python benchmarks/plots.py --draw          (again from plots.json, nothing is measured)

Times are medians over rounds after the first fifth, of processes that take turns; the bars reach
from the lowest to the highest of the repetitions.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from memory import measured
from speed import HERE, one

from fedsim.report.svg import COLOURS, MARKERS, draw

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COHORTS, POPULATIONS, WORKERS = (10, 30, 100, 300, 1000), (1000, 10_000, 100_000, 1_000_000), (1, 2)
Points = Mapping[str, list[float]]
"""What was measured at each place of the axis, by its number."""


def spent(workload: str, of: str, **options: object) -> float:
    """Return the median of a round's ``wall`` or ``cpu`` seconds."""
    said = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    command = [sys.executable, "-W", "ignore", "peer_fedsim.py", workload, *said]
    found = one(command, rounds := 12)
    if found is None:
        raise SystemExit(f"{workload} {said} failed")
    return statistics.median(found[of][rounds // 5 :])


def cohorts(repeats: int) -> dict[str, Points]:
    """Return CPU seconds of a round over its clients, one by one and stacked."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(repeats):
        for workload in ("tiny", "W1m"):
            for how, size in (("one by one", "off"), ("16 together", "16")):
                line = found.setdefault(f"{workload}, {how}", {})
                for cohort in COHORTS:
                    seconds = spent(workload, "cpu", **{"cohort": size, "per-round": cohort})
                    line.setdefault(str(cohort), []).append(seconds)
                print(workload, how, line, flush=True)
    return found


def workers(repeats: int) -> dict[str, Points]:
    """Return wall milliseconds per client over workers, one by one and stacked."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(repeats):
        for workload in ("W1", "W1b", "W1m"):
            for count in WORKERS:
                line = found.setdefault(workload, {})
                seconds = spent(workload, "wall", workers=count)
                line.setdefault(str(count), []).append(10 * seconds)  # 100 clients a round
            print(workload, line, flush=True)
    return found


def population(repeats: int) -> dict[str, Points]:
    """Return peak MiB over the clients that exist, of which 100 take part in a round."""
    found: dict[str, list[float]] = {str(many): [] for many in POPULATIONS}
    for _ in range(repeats):
        for many in POPULATIONS:
            found[str(many)].append(measured(many, 100)["mib"])
    return {"100 a round": found}


def picture(name: str, lines: Mapping[str, Points], across: str, up: str, log: str) -> str:
    """Return a figure with a line for each of ``lines``."""

    def fill(axes: Axes) -> None:
        for number, (label, points) in enumerate(lines.items()):
            places = [float(place) for place in points]
            middle = [statistics.median(values) for values in points.values()]
            low = [m - min(v) for m, v in zip(middle, points.values(), strict=True)]
            high = [max(v) - m for m, v in zip(middle, points.values(), strict=True)]
            colour, marker = COLOURS[number], MARKERS[number]
            axes.errorbar(
                places, middle, [low, high], color=colour, marker=marker, ms=4, label=label
            )
        # Powers of ten would be set as mathematics, which these figures do not know.
        if "x" in log:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        else:
            axes.set_xticks(places)
        if "y" in log:
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(lambda value, _: "")
        else:
            axes.set_ylim(bottom=0)
        axes.set(xlabel=across, ylabel=up)
        axes.legend(frameon=False)

    ends = "; ".join(
        f"{label}: {', '.join(f'{statistics.median(v):.3g} at {k}' for k, v in points.items())}"
        for label, points in lines.items()
    )
    return draw(name, "", f"{up} over {across}. {ends}.", fill).svg


PICTURES = {
    "cohort": (cohorts, "clients in a round", "CPU seconds of a round", "xy"),
    "workers": (workers, "workers", "wall ms per client", ""),
    "population": (population, "clients that exist", "peak MiB above the libraries", "x"),
}


def main() -> None:
    """Measure, unless told to draw alone, and write one SVG file for each picture."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("names", nargs="*", default=list(PICTURES), help=", ".join(PICTURES))
    said.add_argument("--out", type=Path, default=HERE.parent / "docs" / "images")
    said.add_argument("--repeats", type=int, default=3)
    said.add_argument("--draw", action="store_true", help="measure nothing")
    asked = said.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    kept = asked.out / "plots.json"
    known = json.loads(kept.read_text()) if kept.is_file() else {}
    for name in asked.names:
        measure, across, up, log = PICTURES[name]
        if not asked.draw:
            known[name] = measure(asked.repeats)
            kept.write_text(json.dumps(known, indent=1) + "\n")
        text = picture(f"performance-{name}", known[name], across, up, log)
        asked.out.joinpath(f"performance-{name}.svg").write_text(text)


if __name__ == "__main__":
    main()
