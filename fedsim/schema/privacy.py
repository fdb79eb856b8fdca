"""The section ``privacy`` of a scenario: unit, mechanism, noise and budget."""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval, Le, Lt

from fedsim.schema.part import Section

__all__ = ["Budget", "Privacy"]

Multiplier = Annotated[float, Interval(ge=0.01, le=1e6)]
Share = Annotated[float, Gt(0), Lt(1)]


class Budget(Section):
    """How much privacy may be spent in all."""

    epsilon: Annotated[float, Gt(0), Le(1e4)]
    """The run stops before it would spend more than this, at the section's delta."""


class Privacy(Section):
    """The privacy guarantee: unit, mechanism, noise and budget."""

    unit: Literal["client", "record"]
    """Whose presence is hidden: a whole client's, or one training example's of one client."""
    mechanism: Literal["gaussian"] = "gaussian"
    """Gaussian noise on clipped sums."""
    clip: Annotated[float, Ge(1e-6), Le(1e6)]
    """The L2 norm that one unit's share is clipped to; with adaptive clipping, that of round 1."""
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
