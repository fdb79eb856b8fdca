"""The strategy and local update rule of a scenario; stock Flower strategies are adapted."""

from __future__ import annotations

import logging
from dataclasses import replace
from inspect import signature
from typing import Any

from flwr.serverapp.strategy import Strategy as FlowerStrategy

from fedsim.client import Client, as_client
from fedsim.errors import Fault, ScenarioError
from fedsim.exact_low_rank import ExactLowRank
from fedsim.flower.from_flower import FromFlower
from fedsim.plugins.registry import build
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule, unprotected
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.privacy.private_strategy import NoisyClient, PrivateStrategy
from fedsim.schema.part import Part
from fedsim.schema.scenario import Scenario
from fedsim.strategy import Strategy

__all__ = ["client_of", "strategy_of"]


def strategy_of(scenario: Scenario, claim: PrivacySpec | None = None) -> Strategy:
    """Return the scenario's strategy, ours or Flower's in our dress.

    Args:
        scenario: under central privacy its strategy is guarded.
        claim: what the scenario promises, for the server; a worker has no need of it.

    Raises:
        ScenarioError: if the class that is named is neither.
    """
    logging.getLogger("flwr").setLevel(logging.ERROR)  # A round's line is ours to print.
    built: Any = build("strategy", scenario.strategy, scenario.folder)
    if isinstance(built, Strategy):
        if len(signature(built.addends).parameters) < 2:  # as of version 0.1
            what = (
                f"{type(built).__name__}.addends takes (update, client) now: see docs/strategies.md"
            )
            raise _fault(scenario, "strategy.use", what)
        lora = scenario.finetune.lora if scenario.finetune else None
        if lora is not None and lora.aggregate == "exact":
            return ExactLowRank(built, lora.alpha / lora.rank)
        is_central = scenario.privacy is not None and scenario.privacy.is_central
        return PrivateStrategy(built, claim.mechanism if claim else None) if is_central else built
    name = type(built).__name__
    if not isinstance(built, FlowerStrategy):
        raise _fault(scenario, "strategy.use", f"{name} is no strategy, neither ours nor Flower's")
    if name.startswith("FedXgb"):
        raise _fault(
            scenario,
            "strategy.use",
            f"{name} trains tree ensembles; fedsim's clients train neural networks",
        )
    return FromFlower(built)


def _fault(scenario: Scenario, key: str, what: str) -> ScenarioError:
    return ScenarioError([Fault(scenario.name, 0, 0, key, what)])


def _rule(scenario: Scenario, part: Part) -> Any:
    """Return the local update rule; what is wrong with a plug-in inside it stands under local."""
    try:
        return build("client", part, scenario.folder)
    except ScenarioError as error:
        faults = [
            fault
            if fault.key.startswith("client")
            else replace(fault, file=scenario.name, key=f"local.{fault.key}")
            for fault in error.faults
        ]
        raise ScenarioError(faults) from error


def client_of(scenario: Scenario, strategy: Strategy) -> Client:
    """Return the local update rule: the one under ``local``, or the one that the strategy needs.

    Under privacy that is not central it adds its noise itself, as the settled scenario says.
    """
    part = scenario.local
    if not part.use:
        part = part.model_copy(update={"use": strategy.client})
    client = as_client(_rule(scenario, part))
    sends = strategy.sends if isinstance(strategy, FromFlower) else frozenset()
    if unread := sends - client.reads:
        what = f"'{part.use}' does not read {', '.join(unread)}, which the strategy sends"
        raise _fault(scenario, "local.use", f"{what}; a local update rule that does: proximal")
    privacy = scenario.privacy
    if privacy is None or privacy.is_central:
        return client
    terms = PrivacyParameters(privacy.clip, privacy.noise_multiplier or 0.0, privacy.rng)
    if privacy.unit == "client":
        return NoisyClient(client, terms)
    half: PrivateRule = _rule(scenario, part)
    if open_phases := unprotected(half, strategy.phases()):
        what = f"'{part.use}' sends nothing private when asked to {' or '.join(open_phases)}, as "
        raise _fault(scenario, "local.use", f"{what}{type(strategy).__name__} does")
    return half.under(terms)
