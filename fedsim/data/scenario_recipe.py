"""All that a scenario's partitioned examples depend on, as it says it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedsim.data.fit import task_name
from fedsim.data.normalisation import Normalize, PublicConstants
from fedsim.data.partitioning import Recipe
from fedsim.errors import Fault, ScenarioError
from fedsim.plugins.registry import build
from fedsim.schema.public_scale import PublicScale

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["recipe_of"]


def recipe_of(scenario: Scenario) -> Recipe:
    """Return the recipe of a scenario's data.

    Raises:
        ScenarioError: if source, partition or shift cannot be built.
    """
    data, beside = scenario.data, scenario.folder
    source = build("source", data.source, beside)
    if not callable(getattr(source, "load", None)):
        what = f"{type(source).__name__} has no method load(seed, folder): it is no source"
        raise ScenarioError([Fault(scenario.name, 0, 0, "data.source", what)])
    shift = data.feature_shift
    return Recipe(
        source=source,
        partition=build("partition", data.partition, beside),
        shift=None if shift is None else build("shift", shift, beside),
        clients=scenario.clients.count,
        seed=scenario.seed,
        folder=beside,
        server_test=data.holdout.server_test.share,
        client_val=data.holdout.client_val.share,
        client_test=data.holdout.client_test.share,
        normalize=_normalize(scenario),
        task=task_name(scenario),
    )


def _normalize(scenario: Scenario) -> Normalize:
    how = scenario.data.normalize
    if isinstance(how, PublicScale):
        return PublicConstants(how.mean, how.std)
    return how
