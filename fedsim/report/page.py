"""What stands on the report's page: the answer in words, and which sections there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.errors import RunFolderError
from fedsim.report.citations import Citation, cited_by
from fedsim.report.collect import Collection
from fedsim.report.compare import FEWEST, Comparison, compare
from fedsim.report.curves import AXES, cost_drawings, curve_drawings, rank_drawing
from fedsim.report.pictures import Picture, pictures_of
from fedsim.report.portraits import Deal, Spread, clients_of, deals, portraits, spreads
from fedsim.report.spending import Spending, epsilon_drawings
from fedsim.report.svg import Drawing
from fedsim.report.words import METRICS

__all__ = ["Curves", "Page", "Provenance", "page_of"]


@dataclass(frozen=True)
class Curves:
    """The same curves over one kind of axis."""

    axis: str
    """rounds, bytes or seconds."""
    label: str
    drawings: tuple[Drawing, ...]


@dataclass(frozen=True)
class Provenance:
    """With what the runs were computed."""

    same: tuple[tuple[str, str], ...]
    """What all runs share."""
    differs: tuple[tuple[str, tuple[str, ...]], ...]
    runs: tuple[Mapping[str, str], ...]
    """Each run's hashes."""
    citations: Mapping[str, Sequence[Citation]]


@dataclass(frozen=True)
class Page:
    """All of the report."""

    comparison: Comparison
    answer: str
    notes: tuple[str, ...]
    curves: tuple[Curves, ...]
    costs: tuple[Drawing, ...]
    ranks: Drawing | None
    spreads: tuple[Spread, ...]
    portraits: tuple[Drawing, ...]
    deals: tuple[Deal, ...]
    pictures: tuple[Picture, ...]
    spendings: tuple[Spending, ...]
    epsilons: tuple[Drawing, ...]
    provenance: Provenance

    @property
    def drawings(self) -> list[Drawing]:
        """Every figure of the page."""
        lines = [drawing for curves in self.curves for drawing in curves.drawings]
        ranks = [self.ranks] if self.ranks else []
        dealt = [deal.drawing for deal in self.deals]
        return [*lines, *self.costs, *self.epsilons, *self.portraits, *dealt, *ranks]


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
                clients = clients_of(trial)
            except RunFolderError:
                continue
            if clients is not None:
                known[trial.name] = clients
    return Page(
        comparison,
        answer(comparison),
        tuple(notes(comparison)),
        tuple(
            Curves(axis, AXES[axis], drawn)
            for axis in collection.question.x
            if (drawn := tuple(curve_drawings(collection, axis)))
        ),
        tuple(cost_drawings(comparison)),
        rank_drawing(comparison),
        tuple(spreads(collection, known)),
        tuple(portraits(collection, known)),
        tuple(deals(collection)),
        tuple(pictures_of(collection)),
        tuple(spendings),
        tuple(epsilon_drawings(comparison, spendings)),
        _provenance(collection),
    )


def answer(comparison: Comparison) -> str:
    """Return the comparison in a sentence or two."""
    collection = comparison.collection
    metric = METRICS[collection.question.metric]
    ahead = [one for one in comparison.places if one.is_best]
    if not ahead:
        finished = [one for one in comparison.places if one.interval]
        if len(finished) == 1 and finished[0].interval:
            only = finished[0]
            return f"{only.level} reaches a {metric} of {finished[0].interval.mean:.3f}."
        return "There is nothing to compare: fewer than two of them finished their runs."
    apart = [one for one in ahead if one.is_apart]
    many = len(collection.settings) > 1
    parts = []
    for level in dict.fromkeys(one.level for one in ahead):
        where = [one.setting for one in ahead if one.level == level]
        parts.append(level + (f" in {_listed(where)}" if many else ""))
    kind = "lowest" if collection.question.metric == "loss" else "highest"
    lead = f"The {kind} {metric} is that of {_listed(parts)}."
    return f"{lead} {_certainty(apart, ahead, comparison)}"


def _certainty(apart: Sequence[Any], ahead: Sequence[Any], comparison: Comparison) -> str:
    percent = f"{comparison.collection.question.ci:.4g}".removeprefix("0.")
    level = f"{float('0.' + percent) * 100:g} %"
    if len(comparison.collection.seeds) < FEWEST:
        return f"Fewer than {FEWEST} seeds do not tell whether it is apart from the others."
    if not apart:
        return (
            f"Nowhere do the paired {level} intervals tell it apart from all others: "
            "these runs do not settle which is best."
        )
    if len(apart) == len(ahead):
        return f"Its paired {level} interval to every other excludes zero."
    where = _listed([one.setting for one in apart])
    return f"Only in {where} does its paired {level} interval to every other exclude zero."


def _listed(words: Sequence[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def notes(comparison: Comparison) -> list[str]:
    """Return what a reader has to know to read the numbers right."""
    collection = comparison.collection
    seeds, question = len(collection.seeds), collection.question
    found = []
    floor = 2.0 ** (1 - seeds)
    if seeds == 1:
        found.append("One seed: nothing is known of the spread, and no test can be made.")
    elif floor > 1 - question.ci:
        power = str(seeds).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
        blocked = " or read the test over all settings" if len(collection.settings) > 1 else ""
        found.append(
            f"With {seeds} seeds an exact paired test cannot go below p = 2/2{power} = "
            f"{floor:.4g} in one setting: use at least 6 seeds{blocked}."
        )
    lost = sum(one.lost for one in comparison.places)
    if lost:
        found.append(
            f"{lost} of {len(collection.trials)} runs did not finish. A mean over the runs that "
            "did is marked with how many they are, and is never called best."
        )
    units = {_unit(trial.scenario) for trial in collection.trials} - {""}
    if len(units) > 1:
        found.append(
            f"The privacy units differ ({_listed(sorted(units))}): do not compare epsilons."
        )
    return found


def _unit(scenario: Mapping[str, Any]) -> str:
    privacy = scenario.get("privacy")
    return str(privacy.get("unit") or "") if isinstance(privacy, Mapping) else ""


_SHOWN = ("python", "platform", "cpu", "cores", "gpus")


def _provenance(collection: Collection) -> Provenance:
    manifests: list[Mapping[str, Any]] = []
    runs = []
    for trial in collection.trials:
        try:
            said = trial.folder.read_json("manifest.json")
        except RunFolderError:
            said = None
        said = said if isinstance(said, dict) else {}
        if said:
            manifests.append(said)
        result = trial.result
        runs.append(
            {
                "run": trial.name,
                "seed": str(trial.seed),
                "status": trial.status,
                "data": str(said.get("data_sha256", ""))[:12],
                "metrics": result.metrics_sha256[:12] if result else "",
                "weights": result.weights_sha256[:12] if result else "",
            }
        )
    facts: dict[str, list[str]] = {}
    for said in manifests:
        for name, value in _facts(said).items():
            facts.setdefault(name, []).append(value)
    distinct = {name: tuple(dict.fromkeys(values)) for name, values in facts.items()}
    uses = [_use(trial.scenario) for trial in collection.trials]
    return Provenance(
        tuple((name, values[0]) for name, values in distinct.items() if len(values) == 1),
        tuple((name, values) for name, values in distinct.items() if len(values) > 1),
        tuple(runs),
        cited_by([use for use in uses if use]),
    )


def _facts(said: Mapping[str, Any]) -> dict[str, str]:
    packages = said.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    git = said.get("git")
    commit = f"{git.get('commit')}{' with changes' if git.get('dirty') else ''}" if git else ""
    plain = {name: _plain(said.get(name)) for name in _SHOWN}
    known = {**plain, **{f"{name}": str(found) for name, found in versions.items()}}
    return {name: value for name, value in {**known, "git commit": commit}.items() if value}


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _use(scenario: Mapping[str, Any]) -> str:
    strategy = scenario.get("strategy")
    return str(strategy.get("use", "")) if isinstance(strategy, Mapping) else ""
