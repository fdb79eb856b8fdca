"""The parameter search: which values to try next, by Optuna.

A proposal is a pure function of the seed, the trial's number and the trials before it, so a study
that was killed goes on with the very trials that it would have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from fedsim.errors import MissingPackage
from fedsim.seeds import integer

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["Tried", "check_installed", "propose"]

DIGITS = 4
"""Of a number that is tried: more would tell no difference, and be read by nobody."""

Values = Mapping[str, Any]
Tried = Sequence[tuple[Values, float]]
"""Values with their scores, higher is better, in the order in which they were tried."""


def check_installed() -> None:
    """Raise unless Optuna is there.

    Raises:
        MissingPackage: says how to install it.
    """
    try:
        import optuna
    except ImportError as error:
        command = 'pip install "fedsim[tune]"'
        raise MissingPackage(f"tune needs the package optuna: {command}") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def propose(
    space: Mapping[str, Mapping[str, Any]], seed: int, past_trials: Tried
) -> dict[str, Any]:
    """Return the values to try after ``past_trials``.

    The first ten are drawn at random, the others by a tree-structured Parzen estimator.

    Args:
        space: by key, ``log``, ``uniform``, ``int`` or ``choice`` with the ends or the choices.
        seed: the study's: searches begin alike.
        past_trials: the trials so far.

    References:
        Bergstra, Bardenet, Bengio, Kégl, "Algorithms for Hyper-Parameter Optimization",
        NIPS 2011.
    """
    import optuna

    # What all strategies have comes first, so that searches begin with the same draws of it.
    keys = sorted(space, key=lambda key: key.startswith("strategy."))
    spans = {key: _distribution(space[key]) for key in keys}
    sampler = optuna.samplers.TPESampler(seed=integer(seed, "tune", len(past_trials)))
    study = optuna.create_study(sampler=sampler, direction="maximize")
    for values, score in past_trials:
        past = optuna.trial.create_trial(params=dict(values), distributions=spans, value=score)
        study.add_trial(past)
    parameters = study.ask(spans).params
    return {key: _short(parameters[key], space[key]) for key in keys}


def _distribution(span: Mapping[str, Any]) -> BaseDistribution:
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    ((kind, values),) = span.items()
    if kind == "choice":
        return CategoricalDistribution(values)
    if kind == "int":
        return IntDistribution(*values)
    low, high = values
    return FloatDistribution(low, high, log=kind == "log")


def _short(value: Any, span: Mapping[str, Any]) -> Any:
    """Return a number with few digits, still inside its span."""
    ((kind, values),) = span.items()
    if kind not in ("log", "uniform"):
        return value
    return min(max(float(f"{value:.{DIGITS}g}"), values[0]), values[1])
