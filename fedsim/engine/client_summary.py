"""What the evaluations on all clients come to in one round."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fedsim.metrics.metric import Metric
from fedsim.metrics.pooling import pooled
from fedsim.tasks._measures import Measures
from fedsim.worker.score import Score

__all__ = ["client_summary"]


def client_summary(scores: Sequence[Score], measures: Measures) -> dict[str, float]:
    """Return the metrics over all clients' examples, and how the primary one varies.

    ``accuracy``, if that is the primary metric, is over all the clients' examples together,
    ``accuracy_uniform`` the mean of the clients' own values, ``accuracy_worst_10`` that over the
    worst tenth of the clients.  Clients without examples are left out, and from the last two those
    whose own value is undefined, which ``accuracy_undefined`` counts.  A loss is left out too,
    unless it is the primary metric.  ``auroc_bound`` is how far a value from bins may be off.
    """
    evaluated = [score for score in scores if score.examples]
    if not evaluated:
        return {}
    primary = measures.primary
    sums = pooled([score.arrays for score in evaluated])
    values = measures.values(sums)
    own = [measures.values(score.arrays, score.exact)[primary.name] for score in evaluated]
    defined = sorted(value for value in own if not math.isnan(value))
    return {
        **{name: values[name] for name in values if name != "loss" or name == primary.name},
        **{f"{name}_bound": bound for name, bound in measures.bounds(sums).items()},
        **_spread(defined, len(own) - len(defined), primary),
        "examples": float(sum(score.examples for score in evaluated)),
    }


def _spread(defined: Sequence[float], undefined: int, primary: Metric) -> dict[str, float]:
    """Return the mean over clients and over the worst tenth of them, from ascending values."""
    name = primary.name
    counted = {f"{name}_undefined": float(undefined)} if undefined else {}
    if not defined:
        return counted
    count = max(1, math.ceil(len(defined) / 10))
    worst = defined[:count] if primary.better == "higher" else defined[-count:]
    return {
        f"{name}_uniform": sum(defined) / len(defined),
        f"{name}_worst_10": sum(worst) / len(worst),
        **counted,
    }
