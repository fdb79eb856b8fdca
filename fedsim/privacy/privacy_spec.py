"""A scenario's privacy guarantee: unit, neighbours, delta, accountant, and its epsilon.

A turn is what is paid for.  Under central privacy it is a round, and everybody pays; where
clients add the noise themselves it is one client's turn, and only that client pays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from fedsim.cohort import Poisson, Uniform
from fedsim.errors import Fault, RunError, ScenarioError
from fedsim.plugins import registry
from fedsim.privacy.accountant import Accountant, Release, Sampling, epsilon
from fedsim.privacy.calibration import affordable, noise_for
from fedsim.privacy.mechanism import AdaptiveClip, CentralGaussian
from fedsim.privacy.parameters import PrivacyParameters, PrivateRule
from fedsim.privacy.population import Population
from fedsim.wire import ClientInfo

if TYPE_CHECKING:
    from fedsim.schema.privacy import Privacy
    from fedsim.schema.scenario import Scenario

__all__ = ["PrivacySpec", "privacy_spec_of", "settle_privacy"]


@dataclass(frozen=True)
class PrivacySpec:
    """A promise, complete: what is said of it holds for this run and no other."""

    privacy: Privacy
    """With its noise multiplier."""
    crowd: Population
    half: PrivateRule | None = None
    """The local update rule, where it protects its own records."""

    @property
    def noise_multiplier(self) -> float:
        """The noise's standard deviation over the clip."""
        return self.privacy.noise_multiplier or 0.0

    @property
    def sampling(self) -> Sampling:
        """How the accountant sees the cohorts: ``fixed`` where a round always has as many."""
        is_fixed = isinstance(self.crowd.sampler, Uniform) and self.crowd.cohort < (
            self.crowd.population
        )
        return "fixed" if self.privacy.unit == "client" and is_fixed else "poisson"

    @property
    def relation(self) -> str:
        """The neighbours that cannot be told apart."""
        unit = "client" if self.privacy.unit == "client" else "training example of one client"
        return f"replace one {unit}" if self._is_replaced else f"add or remove one {unit}"

    @property
    def _is_replaced(self) -> bool:
        """Whether a neighbour has another unit in one's place: the sum moves by twice the clip."""
        if self.privacy.unit == "record":
            return False
        # A client that is gone lets another one into a cohort of fixed size, and under local
        # noise that it answered at all is seen: only what it answered is hidden.
        return self.sampling == "fixed" or not self.privacy.is_central

    @property
    def sensitivity(self) -> float:
        """How far one neighbour moves the sum, in clips."""
        return 2.0 if self._is_replaced else 1.0

    @property
    def sample_rate(self) -> float:
        """The chance of a client to be in a round, as far as it is claimed to hide it."""
        crowd = self.crowd
        is_claimed = self.privacy.is_central and self.privacy.sampling == "auto"
        return min(1.0, crowd.cohort / crowd.population) if is_claimed else 1.0

    @property
    def terms(self) -> PrivacyParameters:
        """What a local update rule that adds its own noise is told."""
        return PrivacyParameters(self.privacy.clip, self.noise_multiplier, self.privacy.rng)

    @property
    def mechanism(self) -> CentralGaussian:
        """What the server does under central privacy."""
        privacy, adaptive = self.privacy, None
        if privacy.clipping == "adaptive":
            adaptive = AdaptiveClip(privacy.quantile or 0.5, privacy.clip_lr or 0.2)
        expected = float(self.crowd.cohort)
        return CentralGaussian(self.noise_multiplier, expected, privacy.clip, adaptive)

    def releases(self, turns: int) -> tuple[Release, ...]:
        """Return what ``turns`` turns release."""
        if turns == 0:
            return ()
        if self.half is not None:
            return self.half.releases(self.noise_multiplier, turns)
        noise = self.noise_multiplier / self.sensitivity
        return (Release(noise, self.sample_rate, turns, self.sampling),)

    def epsilon(self, turns: int, accountant: Accountant | None = None) -> float:
        """Return what ``turns`` turns come to, by the claim's own accountant or another."""
        return epsilon(self.releases(turns), self.privacy.delta, accountant or self.accountant)

    @property
    def accountant(self) -> Accountant:
        """Whose figure counts."""
        return self.privacy.accountant

    def affordable(self, most: int) -> int:
        """Return how many turns, of at most ``most``, the budget allows."""
        if self.privacy.budget is None:
            return most
        return affordable(self.privacy.budget.epsilon, self.epsilon, most)

    def most_turns(self) -> int:
        """Return how many turns the run would take: of the busiest client, or of all as one."""
        if self.privacy.is_central:
            return self.crowd.rounds
        return max(self.crowd.turns().values(), default=1)

    def facts(self) -> dict[str, Any]:
        """Return what has to stay the same for the whole run, as plain values."""
        fields = self.privacy.model_dump(mode="json")
        return {
            **fields,
            "relation": self.relation,
            "sampling": [self.sampling, self.sample_rate],
            "population": self.crowd.population,
            "cohort": self.crowd.cohort,
            "one_turn": [list(vars(release).values()) for release in self.releases(1)],
        }

    def checked(self, turns: int) -> tuple[float, float]:
        """Return both accountants' epsilons, after holding them against each other.

        Raises:
            RunError: if they contradict each other, so that neither can be believed.
        """
        pld, rdp = self.epsilon(turns, "pld"), self.epsilon(turns, "rdp")
        is_comparable = self.sampling == "poisson" or self.sample_rate >= 1
        if is_comparable and pld > rdp * 1.001 + 1e-3:
            raise RunError(f"the accountants contradict each other: PLD {pld:g}, RDP {rdp:g}")
        return pld, rdp


def privacy_spec_of(scenario: Scenario, population: int, records: int = 0) -> PrivacySpec:
    """Return what ``scenario`` promises, its noise worked out.

    Args:
        scenario: with a section ``privacy``.
        population: how many clients there are.
        records: how many training examples they hold together; 0 where that is not known yet.

    Raises:
        ScenarioError: if the promise cannot be kept: no delta, noise or budget like that.
        MissingPackage: if accounting for it needs a package that is absent.
    """
    privacy = scenario.privacy
    if privacy is None:
        raise _fault(scenario, "privacy", "is missing: without it there is no guarantee")
    units = population if privacy.unit == "client" else records
    if units and privacy.delta >= 1 / units:
        message = f"{privacy.delta:g} with {units} units ({privacy.unit}s): must be below 1/{units}"
        raise _fault(scenario, "privacy.delta", message)
    crowd = Population(
        population,
        scenario.clients.per_round.of(population, at_least=1),
        scenario.rounds,
        registry.build("sampler", scenario.clients.sampler, scenario.folder),
        scenario.seed,
    )
    if privacy.unit == "client" and type(crowd.sampler) not in (Poisson, Uniform):
        message = f"{type(crowd.sampler).__name__} cannot be accounted for"
        raise _fault(scenario, "clients.sampler", message)
    half = registry.build("client", scenario.local, scenario.folder)
    if isinstance(half, PrivateRule):  # what a turn costs depends on how often a round asks
        strategy = registry.build("strategy", scenario.strategy, scenario.folder)
        half = half.serving(strategy.phases())
    claim = PrivacySpec(privacy, crowd, half if privacy.unit == "record" else None)
    return _affordable(scenario, _with_noise(scenario, claim))


def settle_privacy(
    scenario: Scenario, clients: Sequence[ClientInfo]
) -> tuple[Scenario, PrivacySpec | None]:
    """Return the scenario with its noise multiplier written in, and the claim, if there is one."""
    if scenario.privacy is None:
        return scenario, None
    claim = privacy_spec_of(scenario, len(clients), sum(info.examples for info in clients))
    return scenario.model_copy(update={"privacy": claim.privacy}), claim


def _with_noise(scenario: Scenario, claim: PrivacySpec) -> PrivacySpec:
    privacy = claim.privacy
    if privacy.noise_multiplier is None and privacy.budget is not None:
        turns, target = claim.most_turns(), privacy.budget.epsilon
        try:
            noise = _noise(target, _epsilon_of(claim, turns), claim.accountant)
        except ValueError as error:
            raise _fault(scenario, "privacy.budget", f"cannot be met: {error}") from error
        claim = replace(claim, privacy=privacy.model_copy(update={"noise_multiplier": noise}))
    if privacy.is_central:
        try:
            claim.mechanism.delta_multiplier  # noqa: B018  # asked here to be refused here
        except ValueError as error:
            raise _fault(scenario, "privacy.clipping", str(error)) from error
    return claim


EpsilonOf = Callable[[float, Accountant], float]


def _epsilon_of(claim: PrivacySpec, turns: int) -> EpsilonOf:
    @lru_cache
    def epsilon_at(noise: float, accountant: Accountant) -> float:
        privacy = claim.privacy.model_copy(update={"noise_multiplier": noise})
        return replace(claim, privacy=privacy).epsilon(turns, accountant)

    return epsilon_at


def _noise(target: float, of: EpsilonOf, accountant: Accountant) -> float:
    """Return the noise multiplier for ``target``; RDP, which is quick, finds the neighbourhood."""
    near = noise_for(target, lambda noise: of(noise, "rdp"))
    if accountant == "rdp":
        return near
    return noise_for(target, lambda noise: of(noise, "pld"), near)


def _affordable(scenario: Scenario, claim: PrivacySpec) -> PrivacySpec:
    budget = claim.privacy.budget
    if budget is not None and claim.epsilon(1) > budget.epsilon:
        what = "round" if claim.privacy.is_central else "turn of a client"
        message = f"epsilon {budget.epsilon:g} cannot be met: one {what} costs "
        cost = f"{claim.epsilon(1):.4g} with noise multiplier {claim.noise_multiplier:g}"
        raise _fault(scenario, "privacy.budget", message + cost)
    return claim


def _fault(scenario: Scenario, key: str, message: str) -> ScenarioError:
    return ScenarioError([Fault(scenario.name, 0, 0, key, message)])
