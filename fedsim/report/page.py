"""What stands on the report's page: the answer in words, and which sections there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.analysis.collect import Collection
from fedsim.analysis.compare import FEWEST, Comparison, compare
from fedsim.analysis.domain_results import DomainResults, domains_of
from fedsim.analysis.provenance import Provenance, provenance_of
from fedsim.analysis.spending import Spending
from fedsim.errors import RunFolderError
from fedsim.report.client_statistics import Spread, client_figures, clients_of, spreads
from fedsim.report.curves import AXES, cost_drawings, curve_drawings, rank_drawing
from fedsim.report.domain_figures import Drawings, drawings_of
from fedsim.report.partition_figures import PartitionFigure, partition_figures
from fedsim.report.pictures import Picture, pictures_of
from fedsim.report.sizes import size_drawings, traffic_drawings
from fedsim.report.spending_figures import epsilon_drawings, spending_drawings
from fedsim.report.svg import Drawing
from fedsim.report.timeline import TimelineFigure, timeline_figures
from fedsim.report.tuning_figures import tuning_drawings

__all__ = ["Curves", "Page", "page_of"]


@dataclass(frozen=True)
class Curves:
    """The same curves over one kind of axis."""

    axis: str
    """rounds, bytes or seconds."""
    label: str
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Page:
    """All of the report."""

    comparison: Comparison
    answer: str
    notes: tuple[str, ...]
    curves: tuple[Curves, ...]
    costs: tuple[Drawing, ...]
    traffic: tuple[Drawing, ...]
    ranks: Drawing | None
    spreads: tuple[Spread, ...]
    client_figures: tuple[Drawing, ...]
    sizes: tuple[Drawing, ...]
    partition_figures: tuple[PartitionFigure, ...]
    pictures: tuple[Picture, ...]
    spendings: tuple[Spending, ...]
    epsilons: tuple[Drawing, ...]
    tuning: tuple[Drawing, ...]
    domains: DomainResults | None
    domain_drawings: Drawings | None
    timeline_figures: tuple[TimelineFigure, ...]
    provenance: Provenance

    @property
    def drawings(self) -> list[Drawing]:
        """Every figure of the page."""
        lines = [drawing for curves in self.curves for drawing in curves.drawings]
        return [
            *lines,
            *self.costs,
            *self.traffic,
            *self.epsilons,
            *self.client_figures,
            *self.sizes,
            *(deal.drawing for deal in self.partition_figures),
            *(() if self.ranks is None else (self.ranks,)),
            *self.tuning,
            *(shift.drawing for shift in self.timeline_figures),
            *(self.domain_drawings.all if self.domain_drawings else ()),
        ]


def page_of(collection: Collection, spendings: Sequence[Spending] = ()) -> Page:
    """Return the page about ``collection``.

    Args:
        collection: what is compared.
        spendings: what its private runs have spent.

    Raises:
        MissingPackage: if matplotlib or pyarrow is not installed.
    """
    comparison = compare(collection)
    known = {}
    for trial in collection.trials:
        if trial.status == "finished":
            try:
                clients = clients_of(trial, collection.metrics[0].name)
            except RunFolderError:
                continue
            if clients is not None:
                known[trial.name] = clients
    domains = domains_of(collection)
    return Page(
        comparison=comparison,
        answer=answer(comparison),
        notes=tuple(notes(comparison)),
        curves=tuple(
            Curves(axis, AXES[axis], drawn)
            for axis in collection.question.x
            if (drawn := tuple(curve_drawings(collection, axis)))
        ),
        costs=tuple(cost_drawings(comparison)),
        traffic=tuple(traffic_drawings(comparison)),
        ranks=rank_drawing(comparison),
        spreads=tuple(spreads(collection, known)),
        client_figures=tuple(client_figures(collection, known)),
        sizes=tuple(size_drawings(collection, known)),
        partition_figures=tuple(partition_figures(collection)),
        pictures=tuple(pictures_of(collection)),
        spendings=tuple(spendings),
        epsilons=(
            *epsilon_drawings(comparison, spendings),
            *spending_drawings(collection.levels, spendings),
        ),
        tuning=tuple(
            tuning_drawings(collection.tuned, collection.levels, collection.metrics[0].title)
        ),
        domains=domains,
        domain_drawings=None if domains is None else drawings_of(collection, domains),
        timeline_figures=tuple(timeline_figures(collection))
        if "seconds" in collection.question.x
        else (),
        provenance=provenance_of(collection),
    )


def answer(comparison: Comparison) -> str:
    """Return the comparison in a sentence or two."""
    collection = comparison.collection
    compared = collection.compared
    metric = compared.info.title
    ahead = [standing for standing in comparison.places if standing.is_best]
    if not ahead:
        finished = [standing for standing in comparison.places if standing.interval]
        if len(finished) == 1 and finished[0].interval:
            only = finished[0]
            return f"{only.level} reaches a {metric} of {finished[0].interval.mean:.3f}."
        return "There is nothing to compare: fewer than two of them finished their runs."
    separated = [standing for standing in ahead if standing.is_apart]
    many = len(collection.settings) > 1
    parts = []
    for level in dict.fromkeys(standing.level for standing in ahead):
        where = [standing.setting for standing in ahead if standing.level == level]
        parts.append(level + (f" in {_listed(where)}" if many else ""))
    kind = "lowest" if compared.is_lower_better else "highest"
    lead = f"The {kind} {metric} is that of {_listed(parts)}."
    return f"{lead} {_certainty(separated, ahead, comparison)}"


def _certainty(separated: Sequence[Any], ahead: Sequence[Any], comparison: Comparison) -> str:
    percent = f"{comparison.collection.question.ci:.4g}".removeprefix("0.")
    level = f"{float('0.' + percent) * 100:g} %"
    if len(comparison.collection.seeds) < FEWEST:
        return f"Fewer than {FEWEST} seeds do not tell whether it is apart from the others."
    if not separated:
        return (
            f"Nowhere do the paired {level} intervals tell it apart from all others: "
            "these runs do not settle which is best."
        )
    if len(separated) == len(ahead):
        return f"Its paired {level} interval to every other excludes zero."
    where = _listed([standing.setting for standing in separated])
    return f"Only in {where} does its paired {level} interval to every other exclude zero."


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader has to know to read the numbers right."""
    collection = comparison.collection
    seeds, question = len(collection.seeds), collection.question
    lines = []
    floor = 2.0 ** (1 - seeds)
    if seeds == 1:
        lines.append("One seed: nothing is known of the spread, and no test can be made.")
    elif floor > 1 - question.ci:
        power = str(seeds).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        blocked = " or read the test over all settings" if len(collection.settings) > 1 else ""
        lines.append(
            f"With {seeds} seeds an exact paired test cannot go below p = 2/2{power} = "
            f"{floor:.4g} in one setting: use at least 6 seeds{blocked}."
        )
    lost = sum(standing.lost for standing in comparison.places)
    if lost:
        lines.append(
            f"{lost} of {len(collection.trials)} runs did not finish. A mean over the runs that "
            "did is marked with how many they are, and is never called best."
        )
    units = {_unit(trial.scenario) for trial in collection.trials} - {""}
    if len(units) > 1:
        lines.append(
            f"The privacy units differ ({_listed(sorted(units))}): do not compare epsilons."
        )
    return lines


def _unit(scenario: Mapping[str, Any]) -> str:
    privacy = scenario.get("privacy")
    return str(privacy.get("unit") or "") if isinstance(privacy, Mapping) else ""
