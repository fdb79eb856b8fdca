"""How far estimated class ratios are from the true ones, and what they are good for.

    python benchmarks/gls_synth.py

Five Gaussian classes in ten dimensions, a logistic classifier, label shift.  The first table is
over how far the classes are apart, the second over how many examples each domain has.  Confusions
are measured on examples that the classifier has not seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from fedsim.adapt.gls import ratios

Array = NDArray[np.float64]

CLASSES, WIDTH = 5, 10
SEPARATIONS, EXAMPLES = (1.0, 1.6, 2.5), (100, 300, 1000, 3000, 10000)


@dataclass(frozen=True)
class World:
    """A source, a target and a held-out source of one seed."""

    x: Array
    y: NDArray[np.int64]
    x_t: Array
    y_t: NDArray[np.int64]
    x_v: Array
    y_v: NDArray[np.int64]


def world(separation: float, n: int, seed: int) -> World:
    """Draw one."""
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(CLASSES, WIDTH))
    means *= separation / np.sqrt((means**2).sum(axis=1).mean()) * np.sqrt(2)
    laws = []
    for concentration, least in ((2.0, 0.04), (0.7, 0.01)):
        law = np.maximum(generator.dirichlet(np.full(CLASSES, concentration)), least)
        laws.append(law / law.sum())
    made: list[Array] = []
    for law in (laws[0], laws[1], laws[0]):
        labels = generator.choice(CLASSES, size=n, p=law)
        made += [means[labels] + generator.normal(size=(n, WIDTH)), labels]
    return World(*made)  # type: ignore[arg-type]


def fitted(of: World, weights: Array) -> LogisticRegression:
    """Return the classifier of weighted source examples."""
    rule = LogisticRegression(max_iter=500)
    return rule.fit(of.x, of.y, sample_weight=weights[of.y] + 1e-6)


def errors_and_scores(separation: float, n: int, seed: int) -> dict[str, float]:
    """Return by estimator the distance from the true ratios, and by use the accuracy."""
    of, one = world(separation, n, seed), np.ones(CLASSES)
    plain = LogisticRegression(max_iter=500).fit(of.x, of.y)
    share = np.bincount(of.y, minlength=CLASSES) / n
    true = np.bincount(of.y_t, minlength=CLASSES) / n / share
    member, soft = np.eye(CLASSES), plain.predict_proba(of.x_v)
    told = plain.predict_proba(of.x_t)
    sums = soft.T @ member[of.y_v], told.sum(axis=0)
    hard = (
        member[soft.argmax(axis=1)].T @ member[of.y_v],
        member[told.argmax(axis=1)].sum(axis=0),
    )
    found = {
        "soft": ratios(*sums, max_ratio=1e9),
        "hard": ratios(*hard, max_ratio=1e9),
        "inverse": np.linalg.solve(sums[0] / n, sums[1] / n),
        "official": ratios(*sums, max_ratio=1e9, transposed=False),
        "ones": one,
    }
    uses = {"ber_w": found["soft"] / share, "iw": found["soft"]}
    uses |= {"iw official": found["official"], "ber": 1 / share, "oracle": true}
    scores = {name: fitted(of, weights).score(of.x_t, of.y_t) for name, weights in uses.items()}
    return {
        **{name: float(np.linalg.norm(value - true)) for name, value in found.items()},
        "none": plain.score(of.x_t, of.y_t),
        **scores,
    }


def means(separation: float, n: int, seeds: int) -> dict[str, float]:
    """Return the means over seeds."""
    rows = [errors_and_scores(separation, n, seed) for seed in range(seeds)]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def main() -> None:
    """Print both tables."""
    for separation in SEPARATIONS:
        row = means(separation, 3000, 20)
        print(f"separation {separation}:", *(f"{k} {v:.3f}" for k, v in row.items()), flush=True)
    for n in EXAMPLES:
        row = means(1.6, n, 15)
        print(f"n {n}:", *(f"{k} {row[k]:.2f}" for k in ("soft", "hard", "inverse")), flush=True)


if __name__ == "__main__":
    main()
