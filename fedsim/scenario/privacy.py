"""The section ``privacy`` of a scenario, and what is wrong between it and the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt
from pydantic import BaseModel, ConfigDict

from fedsim import registry
from fedsim.errors import ScenarioError

if TYPE_CHECKING:
    from fedsim.scenario.node import Node

__all__ = ["SECTION", "Budget", "Privacy", "wrong"]

SECTION = ConfigDict(
    extra="forbid",
    frozen=True,
    strict=True,
    allow_inf_nan=False,
    use_attribute_docstrings=True,
    regex_engine="python-re",
)
Multiplier = Annotated[float, Interval(ge=0.01, le=1e6)]
Share = Annotated[float, Gt(0), Lt(1)]

Complaint = tuple[str, str]
"""A key and what is wrong with it."""


class Budget(BaseModel):
    """How much privacy may be spent in all."""

    model_config = SECTION

    epsilon: Annotated[float, Gt(0), Le(1e4)]
    """The run stops before it would spend more than this, at the section's delta."""


class Privacy(BaseModel):
    """What is promised, to whom, and how it is paid for."""

    model_config = SECTION

    unit: Literal["client", "record"]
    """Whose presence is hidden: a whole client's, or one training example's of one client."""
    mechanism: Literal["gaussian"] = "gaussian"
    """Gaussian noise on clipped sums."""
    clip: Annotated[float, Ge(1e-6), Le(1e6)]
    """The L2 norm that one unit's share is cut to; with adaptive clipping, that of round 1."""
    noise_multiplier: Multiplier | None = None
    """The noise's standard deviation over the clip; null: what the budget needs."""
    budget: Budget | None = None
    """How much may be spent; null: as much as the rounds take."""
    delta: Share
    """The chance with which the bound may fail: less than one over the number of units."""
    accountant: Literal["pld", "rdp"] = "pld"
    """Which bound counts against the budget; the report shows both."""
    sampling: Literal["auto", "none"] = "auto"
    """auto: amplification by what the sampler does; none: claim no amplification at all."""
    rng: Literal["secure", "simulation"] = "secure"
    """Where noise comes from: the operating system, or the seed (repeatable, not for release)."""
    clipping: Literal["fixed", "adaptive"] = "fixed"
    """adaptive: the clip follows a quantile of the updates' norms (client level, central)."""
    quantile: Share | None = None
    """Adaptive clipping: the share of updates below the clip; null: 0.5."""
    clip_lr: Annotated[float, Gt(0), Le(1)] | None = None
    """Adaptive clipping: how fast the clip follows; null: 0.2."""
    placement: Literal["central", "local"] | None = None
    """Who adds the noise: the server, or each client; null: central for clients, local for
    records, which is all that they can be."""
    metrics: Literal["none", "simulation"] = "none"
    """simulation: clients' own metrics are kept, without noise and never to be released."""

    @property
    def is_central(self) -> bool:
        """Whether the server adds the noise, and is trusted to."""
        return self.unit == "client" and self.placement != "local"


def wrong(tree: Node) -> Iterator[Complaint]:
    """Yield what is wrong between ``privacy`` and the other sections, by key."""
    section = tree.child("privacy")
    if section is None or not isinstance(section.value, dict):
        if _plain(tree, "local.use") == "dp_sgd":
            yield "local", "dp_sgd protects records: it needs the section privacy, unit: record"
        return
    said: dict[str, Any] = section.plain()
    yield from _alone(said)
    yield from _sampler(said, tree)
    yield from _open_metrics(said, tree)
    yield from _parts(said, tree)
    yield from _chance(said, tree)


def _chance(said: dict[str, Any], tree: Node) -> Iterator[Complaint]:
    count, delta = _plain(tree, "clients.count"), said.get("delta")
    is_known = said.get("unit") == "client" and _is_number(count) and _is_number(delta)
    if is_known and count > 0 and delta >= 1 / count:
        yield (
            "privacy.delta",
            f"{delta:g} with {count} clients: must be below 1/{count}, for with a chance of "
            "1/n one of n clients may be given away whole",
        )


def _alone(said: dict[str, Any]) -> Iterator[Complaint]:
    if said.get("noise_multiplier") is None and said.get("budget") is None:
        yield "privacy", "noise_multiplier or budget: {epsilon} is missing: how much noise?"
    is_adaptive = said.get("clipping") == "adaptive"
    for key in ("quantile", "clip_lr"):
        if said.get(key) is not None and not is_adaptive:
            yield f"privacy.{key}", "is used by clipping: adaptive alone"
    is_local = said.get("unit") == "record" or said.get("placement") == "local"
    if is_adaptive and is_local:
        yield "privacy.clipping", "adaptive needs a server that adds the noise: placement: central"
    if said.get("unit") == "record" and said.get("placement") == "central":
        yield "privacy.placement", "records are protected where they are, by their own client"


def _sampler(said: dict[str, Any], tree: Node) -> Iterator[Complaint]:
    use = _plain(tree, "clients.sampler.use", "uniform")
    if said.get("unit") == "client" and use not in ("uniform", "poisson"):
        yield (
            "clients.sampler",
            f"{use} cannot be accounted for under client-level privacy: the accountant knows "
            "poisson (amplified, add or remove one) and uniform (replace one)",
        )


def _open_metrics(said: dict[str, Any], tree: Node) -> Iterator[Complaint]:
    if said.get("metrics") == "simulation":
        return
    told = "would leave without noise; privacy.metrics: simulation keeps it for simulation only"
    if _plain(tree, "evaluation.clients"):
        yield "evaluation.clients", f"what clients measure on their own examples {told}"
    if _plain(tree, "references"):
        yield "references", f"what is learned from the clients' examples directly {told}"


def _parts(said: dict[str, Any], tree: Node) -> Iterator[Complaint]:
    """Look at the classes themselves; torch is imported for that, and only under privacy."""
    if said.get("unit") == "client":
        from fedsim.privacy.guarded import refusal

        strategy = _class("strategy", tree, "strategy")
        reason = refusal(strategy, said.get("placement") or "central") if strategy else ""
        if reason:
            yield "strategy", reason
        half = _half(tree)
        if half is not None and hasattr(half, "under"):
            yield "local", f"{half.__name__} protects records: privacy.unit: record is its section"
    elif said.get("unit") == "record":
        half = _half(tree)
        if half is not None and not hasattr(half, "under"):
            message = f"{half.__name__} adds no noise for its records; dp_sgd does: "
            yield "local", message + "local: {use: dp_sgd, ...}"


def _half(tree: Node) -> type[Any] | None:
    if _plain(tree, "local.use"):
        return _class("client", tree, "local")
    strategy = _class("strategy", tree, "strategy")
    name = getattr(strategy, "client", "sgd")
    try:
        return registry.find("client", name) if strategy else None
    except ScenarioError:
        return None


def _class(kind: str, tree: Node, key: str) -> type[Any] | None:
    """Return the class that is named under ``key``; None where another fault tells of it."""
    node = tree.at((key, "use"))
    try:
        folder = node.place.folder if node else Path()
        return registry.find(kind, str(node.value), folder) if node else None
    except ScenarioError:
        return None


def _plain(tree: Node, key: str, default: Any = None) -> Any:
    node = tree.at(key.split("."))
    return default if node is None else node.plain()


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
