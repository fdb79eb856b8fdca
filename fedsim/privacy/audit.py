"""How much a run really gives away, measured: the one-run audit with canary clients.

Each of ``m`` canaries is in or out by a coin flip and, where it is in, sends the largest update
that is allowed, in a direction of its own.  Who sees the releases guesses which were in.  Under
(epsilon, delta)-privacy few guesses can be right; from how many are, follows a lower bound on
epsilon that holds with the given confidence.  A bound above the claim proves a bug; one below
proves nothing.

References:
    Steinke, Nasr, Jagielski, "Privacy Auditing with One (1) Training Run", NeurIPS 2023,
    arXiv:2305.08846, Theorem 5.2.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fedsim.aggregate import Sums
from fedsim.privacy.noise import NoiseSource, SecureNoise, SimulatedNoise
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.privacy.private_strategy import CLIP, STEP, PrivateStrategy
from fedsim.seeds import numpy_stream
from fedsim.strategy import Strategy
from fedsim.wire import Update, Weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AuditResult", "Scores", "audit", "audit_result", "lower_bound"]

Scores = tuple["NDArray[np.bool_]", "NDArray[np.float64]"]
"""Which canaries were in, and how much it looks as if, `(canaries,)` both."""

SHARES = (32, 16, 8, 4, 2)
"""The guesses that are tried: the m/32 highest scores alone and with as many lowest, and so on."""


@dataclass(frozen=True)
class AuditResult:
    """What an audit came to."""

    canaries: int
    rounds: int
    claimed: float
    """Epsilon, of these rounds."""
    lower: float
    """What epsilon is at least, with ``confidence``."""
    control: float
    """What the same audit finds where no noise is added: below ``claimed`` it proves nothing."""
    confidence: float

    @property
    def is_broken(self) -> bool:
        """Whether the claim is refuted."""
        return self.lower > self.claimed


def audit(claim: PrivacySpec, like: Weights, rounds: int, canaries: int = 1000) -> AuditResult:
    """Return what canaries find out about the central mechanism of ``claim``.

    The updates take the way that clients' take: clipped, put on the grid, added, given noise.

    Args:
        claim: of client level, with central noise.
        like: the weights; there are at most as many canaries as numbers in them.
        rounds: how many are released.
        canaries: how many there are.
    """
    return audit_result(claim, rounds, lambda of: _scores(of, like, rounds, canaries))


def audit_result(
    claim: PrivacySpec, rounds: int, scores_of: Callable[[PrivacySpec], Scores]
) -> AuditResult:
    """Return what the scores say of ``claim``, and what they would say without its noise.

    Args:
        claim: what is audited.
        rounds: how many were released.
        scores_of: plays them under a claim.
    """
    silent = claim.privacy.model_copy(update={"noise_multiplier": 0.0})
    delta, confidence = claim.privacy.delta, 0.95
    is_in, scores = scores_of(claim)
    lower = lower_bound(scores, is_in, delta, confidence)
    was_in, bare = scores_of(replace(claim, privacy=silent))
    control = lower_bound(bare, was_in, delta, confidence)
    return AuditResult(len(is_in), rounds, claim.epsilon(rounds), lower, control, confidence)


def _scores(claim: PrivacySpec, like: Weights, rounds: int, canaries: int) -> Scores:
    """Return which canaries were in, and how much it looks as if, `(canaries,)` both."""
    seed, many = claim.crowd.seed, min(canaries, sum(tensor.numel() for tensor in like.values()))
    coins = numpy_stream(seed, "audit")
    is_in = coins.random(many) < 0.5
    scores = np.zeros(many)
    for number in range(1, rounds + 1):
        taking_part = is_in & (coins.random(many) < claim.sample_rate)
        source: NoiseSource = SecureNoise()
        if claim.privacy.rng == "simulation":
            source = SimulatedNoise.at(seed, "audit-noise", number)
        scores += _round(claim, like, taking_part, source)
    return is_in, scores


def _round(
    claim: PrivacySpec, like: Weights, taking_part: NDArray[np.bool_], source: NoiseSource
) -> Any:
    """Return each canary's own coordinate of one release, `(canaries,)`."""
    import torch

    mechanism = claim.mechanism
    strategy, sums = PrivateStrategy(Strategy(), mechanism), Sums()
    settings = {CLIP: mechanism.clip, STEP: mechanism.step(mechanism.clip)}
    names, sizes = sorted(like), [like[name].numel() for name in sorted(like)]
    for canary in np.flatnonzero(taking_part).tolist():
        flat = torch.zeros(sum(sizes))
        flat[canary] = 3 * mechanism.clip  # more than is allowed: clipping is audited too
        parts = torch.split(flat, sizes)
        delta = {
            name: part.reshape(like[name].shape) for name, part in zip(names, parts, strict=True)
        }
        sums.add(canary, strategy.clipped(Update(canary, delta, 1), settings))
    released = mechanism.release(sums, like, mechanism.clip, source).delta
    flat = torch.cat([released[name].flatten() for name in names])
    return flat[: len(taking_part)].numpy() / mechanism.clip


def lower_bound(
    scores: NDArray[np.float64], is_in: NDArray[np.bool_], delta: float, confidence: float = 0.95
) -> float:
    """Return what epsilon is at least, with ``confidence``, from how well guesses do.

    Args:
        scores: one of each canary, high where it seems to be in, `(canaries,)`.
        is_in: whether it was, `(canaries,)`.
        delta: of the claim.
        confidence: that the bound holds, over all numbers of guesses that are tried.
    """
    order = np.argsort(scores, kind="stable")
    bound, many = 0.0, len(scores)
    sizes = sorted({many // share for share in SHARES} - {0})
    trials = [(low, high) for high in sizes for low in (0, high)]
    for low, high in trials:
        right = int((~is_in[order[:low]]).sum() + is_in[order[-high:]].sum())
        guesses = _Guesses(many, low + high, right)
        bound = max(bound, guesses.lower(delta, 1 - (1 - confidence) / len(trials)))
    return bound


@dataclass(frozen=True)
class _Guesses:
    canaries: int
    guessed: int
    right: int

    def chance(self, epsilon: float, delta: float) -> float:
        """Return how likely so many right guesses are at most, under (epsilon, delta)-privacy."""
        tail = _binomial_tail(self.guessed, 1 / (1 + math.exp(-epsilon)))
        by_luck = tail[self.right]  # P[at least ``right`` of ``guessed``]
        less = np.arange(1, self.right + 1)
        lift = float(np.max((tail[self.right - less] - by_luck) / less, initial=0.0))
        return min(1.0, float(by_luck) + 2 * self.canaries * delta * lift)

    def lower(self, delta: float, confidence: float) -> float:
        """Return the largest epsilon that is refuted with ``confidence``."""
        if self.chance(0.0, delta) > 1 - confidence:
            return 0.0
        return _last(lambda epsilon: self.chance(epsilon, delta) <= 1 - confidence, 60.0)


def _last(holds: Callable[[float], bool], high: float) -> float:
    low = 0.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def _binomial_tail(many: int, chance: float) -> NDArray[np.float64]:
    """Return ``P[X >= v]`` of a binomial for ``v`` from 0 to ``many``, `(many + 1,)`."""
    log_factorial = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, many + 1)))])
    right = np.arange(many + 1)
    ways = log_factorial[many] - log_factorial - log_factorial[::-1]
    # log(1 - chance) is -log1p(exp(epsilon)), which does not vanish where chance is near 1.
    miss = math.log1p(-chance) if chance < 1 else -math.inf
    with np.errstate(invalid="ignore"):
        logs = ways + right * math.log(chance) + np.where(right < many, (many - right) * miss, 0.0)
    tail: NDArray[np.float64] = np.cumsum(np.exp(logs)[::-1])[::-1]
    return np.minimum(tail, 1.0)
