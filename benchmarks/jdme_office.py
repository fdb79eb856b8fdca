"""JDME beside TCA and JDA on the twelve tasks of Office-Caltech10, SURF, with the same heads.

    python benchmarks/jdme_office.py office_caltech10_surf.npz

The archive holds x (2533, 800) counts, y, domain and domain_names.  Rows are divided by their
sums, standardised within each domain and brought to unit length.  Everything is on one machine:
``jdme_federated.py`` shows that runs come to the same.  Labels of a target are read when the table
is printed, and nowhere else.

References:
    Pan, Tsang, Kwok, Yang, "Domain Adaptation via Transfer Component Analysis", IEEE TNN 2011;
    Long, Wang, Ding, Sun, Yu, "Transfer Feature Learning with Joint Distribution Adaptation",
    ICCV 2013; both in their linear, primal form, written afresh.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.linalg import eigh
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from fedsim.adapt.joint_matching import (
    Moments,
    discrepancy,
    moments_of,
    principal,
    subspace,
    unit_rows,
)

Array = NDArray[np.float64]
Head = Callable[[], Any]

CLASSES, ROUNDS, STEPS = 10, 5, 5
WIDTHS = (10, 20, 50, 100)
HEADS: dict[str, Head] = {
    "1-NN": lambda: KNeighborsClassifier(1),
    "SVM": lambda: SVC(kernel="linear"),
}


@dataclass(frozen=True, eq=False)
class Task:
    """Two domains, rows of unit length."""

    name: str
    x: Array
    y: NDArray[np.int64]
    x_t: Array
    y_t: NDArray[np.int64]
    """For the tables alone."""

    def both(self) -> Array:
        return np.vstack([self.x, self.x_t])


def tasks(path: Path) -> list[Task]:
    """Return the twelve tasks."""
    with np.load(path, allow_pickle=False) as held:
        x, y, domain = held["x"].astype(np.float64), held["y"].astype(np.int64), held["domain"]
        names = [str(name)[0].upper() for name in held["domain_names"]]
    x /= x.sum(axis=1, keepdims=True)
    for number in range(len(names)):
        rows = x[domain == number]
        spread = rows.std(axis=0)
        x[domain == number] = (rows - rows.mean(axis=0)) / np.where(spread > 0, spread, 1)
    x = unit_rows(torch.from_numpy(x)).numpy()
    at = [np.flatnonzero(domain == number) for number in range(len(names))]
    return [
        Task(f"{names[s]}-{names[t]}", x[at[s]], y[at[s]], x[at[t]], y[at[t]])
        for s, t in permutations(range(len(names)), 2)
    ]


@cache
def width_of(task: Task, head: Head) -> int:
    """Return the number of dimensions, by the source's labels alone.

    The smallest whose cross-validated accuracy on the source, in the principal subspace of both
    domains, is within one standard error of the best.
    """
    source = moments(task.x, task.y)
    target = moments(task.x_t, np.zeros(len(task.x_t), np.int64))
    found = {}
    for width in WIDTHS:
        z = projected(task.x, principal(source + target, width).numpy())
        scores = cross_val_score(head(), z, task.y, cv=5)
        found[width] = scores.mean(), scores.std() / np.sqrt(len(scores))
    best, error = max(found.values())
    return next(width for width, (mean, _) in found.items() if mean >= best - error)


def moments(x: Array, y: NDArray[np.int64]) -> Moments:
    return moments_of(torch.from_numpy(x), torch.from_numpy(y), CLASSES)


def projected(x: Array, basis: Array) -> Array:
    return unit_rows(torch.from_numpy(x @ basis)).numpy()


def jdme(task: Task, width: int, head: Head, rounds: int) -> list[Array]:
    """Return the guessed labels after each outer iteration."""
    source, guess = moments(task.x, task.y), head().fit(task.x, task.y).predict(task.x_t)
    basis, guesses = None, []
    for _ in range(rounds):
        target = moments(task.x_t, guess)
        start = principal(source + target, width) if basis is None else basis
        basis = subspace(start, discrepancy(source, target), STEPS)
        z, z_t = (projected(x, basis.numpy()) for x in (task.x, task.x_t))
        guess = head().fit(z, task.y).predict(z_t)
        guesses.append(guess)
    return guesses


def components(task: Task, width: int, head: Head, joint: bool) -> Array:
    """Return the labels that TCA, or JDA after ten iterations, guesses."""
    x, n, guess = task.both(), len(task.x), None
    scatter = np.cov(x, rowvar=False, bias=True) * len(x) + 1e-9 * np.eye(x.shape[1])
    ends = np.repeat([1 / n, -1 / len(task.x_t)], [n, len(task.x_t)])
    for _ in range(10 if joint else 1):
        columns = [ends * (np.sqrt(CLASSES) if joint else 1)]
        for c in range(CLASSES if guess is not None else 0):
            apart = np.zeros(len(x))
            apart[:n] = (task.y == c) / (task.y == c).sum()
            apart[n:] = -1.0 * (guess == c) / max(1, (guess == c).sum())
            columns.append(apart)
        e = np.stack(columns, axis=1)  # M = e e'
        inner = x.T @ e
        left = inner @ inner.T / np.linalg.norm(e.T @ e) + np.eye(x.shape[1])
        _, basis = eigh(left, scatter, subset_by_index=[0, width - 1])
        z, z_t = (projected(rows, basis) for rows in (task.x, task.x_t))
        guess = head().fit(z, task.y).predict(z_t)
    return np.asarray(guess)


def heads(every: list[Task]) -> None:
    """Print by method and head the accuracies on the twelve tasks, and their mean."""
    for name, head in HEADS.items():
        rows: dict[str, list[float]] = {}
        for task in every:
            for what, guess in guesses_of(task, head).items():
                rows.setdefault(what, []).append(100 * float((guess == task.y_t).mean()))
            rows.setdefault("d of the rule", []).append(width_of(task, head))
            print(
                f"{name} {task.name}:", *(f"{k} {v[-1]:.1f};" for k, v in rows.items()), flush=True
            )
        for what, values in rows.items():
            print(f"| {name} | {what} | {np.mean(values):.2f} |", flush=True)


def guesses_of(task: Task, head: Head) -> dict[str, Array]:
    """Return by method the labels that are guessed of the target."""
    found = {"none": head().fit(task.x, task.y).predict(task.x_t)}
    for label, joint in (("TCA", False), ("JDA", True)):
        found[f"{label}, d = 20"] = components(task, 20, head, joint)
    guesses = jdme(task, 20, head, ROUNDS)
    found |= {"JDME, d = 20, 1 round": guesses[0], "JDME, d = 20, 5 rounds": guesses[-1]}
    found["JDME, d by the rule, 1 round"] = jdme(task, width_of(task, head), head, 1)[0]
    return found


def main() -> None:
    """Print the table."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("archive", type=Path)
    torch.set_num_threads(1)
    heads(tasks(said.parse_args().archive))


if __name__ == "__main__":
    main()
