"""The strategy and the client half that a scenario names; stock Flower strategies are adapted."""

from __future__ import annotations

from typing import Any

from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedsim.client import Client
from fedsim.errors import Fault, ScenarioError
from fedsim.flower.stock import Stock
from fedsim.registry import build
from fedsim.scenario.schema import Scenario
from fedsim.strategy import Strategy

__all__ = ["client_of", "strategy_of"]


def strategy_of(scenario: Scenario) -> Strategy:
    """Return the scenario's strategy, ours or Flower's in our dress.

    Raises:
        ScenarioError: if the class that is named is neither.
    """
    found: Any = build("strategy", scenario.strategy, scenario.folder)
    if isinstance(found, Strategy):
        return found
    if isinstance(found, FlowerStrategy):
        return Stock(found)
    what = f"{type(found).__name__} is neither a fedsim nor a Flower strategy"
    raise ScenarioError([Fault(str(scenario.folder), 0, 0, "strategy.use", what)])


def client_of(scenario: Scenario, strategy: Strategy) -> Client:
    """Return the client half: the one under ``local``, or the one that the strategy needs."""
    part = scenario.local
    if not part.use:
        part = part.model_copy(update={"use": strategy.client})
    client: Client = build("client", part, scenario.folder)
    return client
