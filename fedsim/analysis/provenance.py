"""With what runs were computed, on what, and what that rests on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedsim.analysis.citations import Citation, PluginOrigin, cited_by, origin_of
from fedsim.analysis.collect import Collection
from fedsim.errors import RunFolderError

__all__ = ["Provenance", "provenance_of"]


@dataclass(frozen=True)
class Provenance:
    """With what the runs were computed."""

    same: tuple[tuple[str, str], ...]
    """What all runs share."""
    differs: tuple[tuple[str, tuple[str, ...]], ...]
    runs: tuple[Mapping[str, str], ...]
    """Each run's hashes."""
    citations: Mapping[str, Sequence[Citation]]
    origins: tuple[PluginOrigin, ...]
    """Of the data."""


_SHOWN = ("python", "platform", "cpu", "cores", "gpus")


def provenance_of(collection: Collection) -> Provenance:
    """Return with what the runs of ``collection`` were computed."""
    manifests: list[Mapping[str, Any]] = []
    runs = []
    for trial in collection.trials:
        try:
            manifest = trial.folder.read_json("manifest.json")
        except RunFolderError:
            manifest = None
        manifest = manifest if isinstance(manifest, dict) else {}
        if manifest:
            manifests.append(manifest)
        result = trial.result
        runs.append(
            {
                "run": trial.name,
                "seed": str(trial.seed),
                "status": trial.status,
                "data": str(manifest.get("data_sha256", ""))[:12],
                "metrics": result.metrics_sha256[:12] if result else "",
                "weights": result.weights_sha256[:12] if result else "",
            }
        )
    facts: dict[str, list[str]] = {}
    for manifest in manifests:
        for name, value in _facts(manifest).items():
            facts.setdefault(name, []).append(value)
    distinct = {name: tuple(dict.fromkeys(values)) for name, values in facts.items()}
    uses = [_use(trial.scenario) for trial in collection.trials]
    return Provenance(
        tuple((name, values[0]) for name, values in distinct.items() if len(values) == 1),
        tuple((name, values) for name, values in distinct.items() if len(values) > 1),
        tuple(runs),
        cited_by([use for use in uses if use]),
        tuple(dict.fromkeys(_origins(collection))),
    )


def _origins(collection: Collection) -> Iterator[PluginOrigin]:
    for trial in collection.trials:
        data = trial.scenario.get("data")
        source = data.get("source") if isinstance(data, Mapping) else None
        if isinstance(source, Mapping):
            yield origin_of(source)


def _facts(manifest: Mapping[str, Any]) -> dict[str, str]:
    packages = manifest.get("packages")
    versions = packages if isinstance(packages, dict) else {}
    git = manifest.get("git")
    commit = f"{git.get('commit')}{' with changes' if git.get('dirty') else ''}" if git else ""
    plain = {name: _plain(manifest.get(name)) for name in _SHOWN}
    known = {**plain, **{f"{name}": str(release) for name, release in versions.items()}}
    return {name: value for name, value in {**known, "git commit": commit}.items() if value}


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")


def _use(scenario: Mapping[str, Any]) -> str:
    strategy = scenario.get("strategy")
    return str(strategy.get("use", "")) if isinstance(strategy, Mapping) else ""
