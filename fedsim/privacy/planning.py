"""What a target epsilon needs: more noise, fewer rounds, or a smaller cohort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedsim.privacy.calibration import affordable
from fedsim.privacy.privacy_spec import PrivacySpec

__all__ = ["PrivacyPlan", "curve_svg", "plan_privacy"]


@dataclass(frozen=True)
class PrivacyPlan:
    """Three ways to one epsilon, and how it grows on the first of them."""

    epsilon: float
    now: float | None
    """What the scenario comes to as it is; None where it leaves the noise to the budget."""
    noise_multiplier: float
    """With the scenario's rounds and cohort."""
    rounds: int | None
    """With the scenario's noise and cohort; None where it says no noise."""
    cohort: int | None
    """With the scenario's noise and rounds; None where the cohort buys nothing, or none will do."""
    curve: tuple[tuple[int, float], ...]
    """Turns and epsilon, with ``noise_multiplier``."""


def plan_privacy(claim: PrivacySpec, noisier: PrivacySpec, epsilon: float) -> PrivacyPlan:
    """Return what ``epsilon`` would take.

    Args:
        claim: of the scenario; its noise multiplier may be missing.
        noisier: the same with the noise that ``epsilon`` needs.
        epsilon: the one that is wished for.
    """
    turns = claim.most_turns()
    points = sorted({max(1, turns * step // 20) for step in range(1, 21)})
    has_noise = claim.noise_multiplier > 0
    return PrivacyPlan(
        epsilon,
        claim.epsilon(turns) if has_noise else None,
        noisier.noise_multiplier,
        affordable(epsilon, claim.epsilon, 10 * turns) if has_noise else None,
        _cohort(claim, epsilon, turns) if has_noise and claim.sample_rate < 1 else None,
        tuple((point, noisier.epsilon(point)) for point in points),
    )


def _cohort(claim: PrivacySpec, epsilon: float, turns: int) -> int | None:
    def epsilon_at(size: int) -> float:
        return replace(claim, crowd=replace(claim.crowd, cohort=size)).epsilon(turns)

    cohort = affordable(epsilon, epsilon_at, claim.crowd.population)
    return cohort or None


def curve_svg(points: Sequence[tuple[int, float]], title: str) -> str:
    """Return epsilon over turns as a drawing of 480 by 280."""
    left, top, width, height = 56, 40, 400, 190
    most, high = points[-1][0], max(epsilon for _, epsilon in points) or 1.0
    line = " ".join(
        f"{left + width * turn / most:.1f},{top + height * (1 - epsilon / high):.1f}"
        for turn, epsilon in points
    )
    base = top + height
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 280" '
        'font-family="sans-serif" font-size="12">\n'
        f'<text x="{left}" y="22" font-size="14">{title}</text>\n'
        f'<path d="M{left},{top}V{base}H{left + width}" fill="none" stroke="#888"/>\n'
        f'<polyline points="{line}" fill="none" stroke="#0a5" stroke-width="2"/>\n'
        f'<text x="{left - 6}" y="{top + 4}" text-anchor="end">{high:.3g}</text>\n'
        f'<text x="{left - 6}" y="{base}" text-anchor="end">0</text>\n'
        f'<text x="{left + width}" y="{base + 18}" text-anchor="end">{most} turns</text>\n'
        f'<text x="{left}" y="{base + 18}">epsilon</text>\n</svg>\n'
    )
