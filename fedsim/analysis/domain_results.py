"""How models do in each domain: a matrix over seeds, and what evaluation saw of single runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.analysis.collect import Collection, Trial
from fedsim.analysis.statistics import Interval, interval
from fedsim.errors import RunFolderError
from fedsim.runlog import tables

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DomainResults", "DomainRow", "DomainView", "domains_of"]


@dataclass(frozen=True)
class DomainRow:
    """How a level does in each domain when it learns from these sources; over seeds."""

    level: str
    setting: str
    sources: tuple[str, ...]
    accuracy: Mapping[str, Interval]
    """By domain, on the server's test examples."""


@dataclass(frozen=True)
class DomainView:
    """What evaluation saw of one run's domains: its ``domains.json`` and its ratios by round."""

    level: str
    setting: str
    seed: int
    classes: tuple[str, ...]
    confusion: Mapping[str, NDArray[Any]]
    """By domain: true classes are rows, predicted ones columns."""
    maps: Mapping[str, Any]
    """``before`` and ``after``: where examples are, with domain and label."""
    ratios: Mapping[str, Mapping[int, NDArray[Any]]]
    """What the strategy estimated, by ``source>target`` and round."""
    true: Mapping[str, NDArray[Any]]
    """The same of the training labels, which no strategy sees; NaN where a source has none."""


@dataclass(frozen=True)
class DomainResults:
    """What is known of the domains of a comparison."""

    names: tuple[str, ...]
    targets: tuple[str, ...]
    rows: tuple[DomainRow, ...]
    views: tuple[DomainView, ...]
    """Of one run for each level and setting."""


def domains_of(collection: Collection) -> DomainResults | None:
    """Return what is known of domains; None where runs have fewer than two, or no target."""
    roles = {
        domain_view.name: _roles(domain_view)
        for domain_view in collection.trials
        if domain_view.result
    }
    results = [domain_view.result for domain_view in collection.trials if domain_view.result]
    names = tuple(dict.fromkeys(name for domain_view in results for name in domain_view.domains))
    targets = tuple(
        name for name in names if any(role_of.get(name) == "target" for role_of in roles.values())
    )
    if len(names) < 2 or not targets:
        return None
    rows = tuple(_rows(collection, roles))
    views = tuple(
        domain_view for trial in _first(collection) if (domain_view := _seen(trial)) is not None
    )
    return DomainResults(names, targets, rows, views)


def _roles(trial: Trial) -> dict[str, str]:
    try:
        partition: Any = trial.folder.read_json("partition.json") or {"clients": ()}
        return {client["domain"]: client.get("role", "source") for client in partition["clients"]}
    except (RunFolderError, KeyError, TypeError):
        return {}


def _rows(collection: Collection, roles: Mapping[str, Mapping[str, str]]) -> Iterator[DomainRow]:
    for setting in collection.settings:
        for level in collection.levels:
            trials = [
                trial for trial in collection.of(level, setting) if trial.status == "finished"
            ]
            results = [trial.result.domains for trial in trials if trial.result]
            domain_names = dict.fromkeys(name for by_domain in results for name in by_domain)
            if not domain_names:
                continue
            role_of = roles.get(trials[0].name, {})
            sources = tuple(name for name in domain_names if role_of.get(name) == "source")
            accuracy = {
                name: interval(
                    [finished[name] for finished in results if name in finished],
                    collection.question.ci,
                )
                for name in domain_names
            }
            yield DomainRow(level, setting, sources, accuracy)


def _first(collection: Collection) -> Iterator[Trial]:
    """Yield the first finished run of each level in each setting."""
    for setting in collection.settings:
        for level in collection.levels:
            finished = (
                trial for trial in collection.of(level, setting) if trial.status == "finished"
            )
            yield from list(finished)[:1]


def _seen(trial: Trial) -> DomainView | None:
    try:
        saved: Any = trial.folder.read_json("domains.json")
        if saved is None:
            return None
        rounds = tables.read(trial.folder.path, "ratios")
        ratios: dict[str, dict[int, NDArray[Any]]] = {}
        for number, by_pair in rounds.items():
            for pair, values in by_pair.items():
                ratios.setdefault(pair, {})[number] = np.array(values, dtype=np.float64)
        return DomainView(
            trial.level,
            trial.setting,
            trial.seed,
            tuple(saved["classes"]),
            {name: np.array(table) for name, table in saved["confusion"].items()},
            saved["maps"],
            ratios,
            {pair: _ratio(saved["counts"], pair) for pair in ratios},
        )
    except (RunFolderError, KeyError, TypeError, ValueError):
        return None  # the page goes without the pictures


def _ratio(counts: Mapping[str, Sequence[float]], pair: str) -> NDArray[Any]:
    source, _, target = pair.partition(">")
    laws = [np.array(counts[name], dtype=np.float64) for name in (source, target)]
    source_law, target_law = (law / law.sum() for law in laws)
    ratio: NDArray[Any] = np.divide(
        target_law, source_law, out=np.full_like(source_law, np.nan), where=source_law > 0
    )
    return ratio
