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
    seen: tuple[DomainView, ...]
    """Of one run for each level and setting."""


def domains_of(collection: Collection) -> DomainResults | None:
    """Return what is known of domains; None where runs have fewer than two, or no target."""
    roles = {one.name: _roles(one) for one in collection.trials if one.result}
    results = [one.result for one in collection.trials if one.result]
    names = tuple(dict.fromkeys(name for one in results for name in one.domains))
    targets = tuple(
        name for name in names if any(own.get(name) == "target" for own in roles.values())
    )
    if len(names) < 2 or not targets:
        return None
    rows = tuple(_rows(collection, roles))
    seen = tuple(one for trial in _first(collection) if (one := _seen(trial)) is not None)
    return DomainResults(names, targets, rows, seen)


def _roles(trial: Trial) -> dict[str, str]:
    try:
        said: Any = trial.folder.read_json("partition.json") or {"clients": ()}
        return {one["domain"]: one.get("role", "source") for one in said["clients"]}
    except (RunFolderError, KeyError, TypeError):
        return {}


def _rows(collection: Collection, roles: Mapping[str, Mapping[str, str]]) -> Iterator[DomainRow]:
    for setting in collection.settings:
        for level in collection.levels:
            trials = [one for one in collection.of(level, setting) if one.status == "finished"]
            results = [one.result.domains for one in trials if one.result]
            known = dict.fromkeys(name for own in results for name in own)
            if not known:
                continue
            own = roles.get(trials[0].name, {})
            sources = tuple(name for name in known if own.get(name) == "source")
            accuracy = {
                name: interval(
                    [one[name] for one in results if name in one], collection.question.ci
                )
                for name in known
            }
            yield DomainRow(level, setting, sources, accuracy)


def _first(collection: Collection) -> Iterator[Trial]:
    """Yield the first finished run of each level in each setting."""
    for setting in collection.settings:
        for level in collection.levels:
            found = (one for one in collection.of(level, setting) if one.status == "finished")
            yield from list(found)[:1]


def _seen(trial: Trial) -> DomainView | None:
    try:
        said: Any = trial.folder.read_json("domains.json")
        if said is None:
            return None
        rounds = tables.read(trial.folder.path, "ratios")
        ratios: dict[str, dict[int, NDArray[Any]]] = {}
        for number, found in rounds.items():
            for pair, values in found.items():
                ratios.setdefault(pair, {})[number] = np.array(values, dtype=np.float64)
        return DomainView(
            trial.level,
            trial.setting,
            trial.seed,
            tuple(said["classes"]),
            {name: np.array(table) for name, table in said["confusion"].items()},
            said["maps"],
            ratios,
            {pair: _ratio(said["counts"], pair) for pair in ratios},
        )
    except (RunFolderError, KeyError, TypeError, ValueError):
        return None  # the page goes without the pictures


def _ratio(counts: Mapping[str, Sequence[float]], pair: str) -> NDArray[Any]:
    source, _, target = pair.partition(">")
    laws = [np.array(counts[name], dtype=np.float64) for name in (source, target)]
    own, other = (law / law.sum() for law in laws)
    ratio: NDArray[Any] = np.divide(other, own, out=np.full_like(own, np.nan), where=own > 0)
    return ratio
