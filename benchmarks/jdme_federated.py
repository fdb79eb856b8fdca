"""JDME in runs of `fedsim` against one machine, on tasks of Office-Caltech10, SURF.

    python benchmarks/jdme_federated.py office_caltech10_surf.npz [equal] [random]

``equal`` compares the subspace of a run of one round, with one and two source clients, with that of
the kernel matrix over everyone's rows; ``random`` the Gaussian kernel by random features in a run
with the exact one.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jdme_office import CLASSES, ROUNDS, STEPS, Task, projected, tasks
from sklearn.svm import LinearSVC
from torch import Tensor

from fedsim.adapt.grassmann import descend
from fedsim.adapt.joint_matching import unit_rows
from fedsim.engine.run import run_scenario
from fedsim.runlog import checkpoint
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

PARTS = Path(__file__).with_name("jdme_office_parts.py")


def equal(every: list[Task]) -> None:
    """Print runs of one round with one and two source clients, and how far one machine is off."""
    for task in every:
        one, two = (run(task, Run({"use": "jdme"}, sources=count)) for count in (1, 2))
        off = (central(task, two["raw"]) - two["basis"]).abs().max()
        print(
            f"{task.name} | {one['accuracy']:.2f} | {two['accuracy']:.2f} | {off:.0e} | "
            f"{one['up'] / 1e6:.1f} MB up",
            flush=True,
        )


def random(every: list[Task]) -> None:
    """Print the Gaussian kernel, exact on one machine and by random features in runs."""
    for task in (one for one in every if one.name in ("W-D", "D-W")):
        print(f"{task.name} | exact | {exact_gaussian(task, 50):.2f}", flush=True)
        for features in (100, 500, 2000):
            said = {"use": "jdme", "kernel": "rbf", "features": features}
            ran = [run(task, Run(said, ROUNDS, 50, seed=seed)) for seed in (1, 2)]
            found = [one["accuracy"] for one in ran]
            print(
                f"{task.name} | m={features} | {np.mean(found):.2f} | "
                f"{found} | {ran[0]['up'] / 1e6:.0f} MB up",
                flush=True,
            )


@dataclass(frozen=True)
class Run:
    """How a task is run."""

    strategy: dict[str, Any]
    rounds: int = 1
    width: int = 20
    sources: int = 1
    seed: int = 1


def run(task: Task, how: Run) -> dict[str, Any]:
    """Return what a run came to: accuracy on all of the target, the subspace, the first head."""
    sources = how.sources
    owners = np.concatenate([np.arange(len(task.x)) % sources, np.full(len(task.x_t), sources)])
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "task.npz"
        np.savez(
            data,
            x_train=task.both(),
            y_train=np.concatenate([task.y, task.y_t]),
            client=owners,
            domain_train=(owners == sources).astype(np.int64),
            x_test=task.x_t,
            y_test=task.y_t,
            domain_test=np.ones(len(task.y_t), np.int64),
            domain_names=np.array(["source", "target"]),
        )
        path = Path(folder) / "jdme.yaml"
        path.write_text(
            json.dumps(
                {
                    "seed": how.seed,
                    "rounds": how.rounds,
                    "data": {
                        "source": f"npz:{data}",
                        "partition": {"use": f"{PARTS}:NaturalRoles", "targets": ["target"]},
                        "normalize": False,
                    },
                    "model": {"use": "projected", "dimensions": how.width},
                    "clients": {"count": sources + 1},
                    "strategy": how.strategy,
                    "compute": {"backend": "local"},
                }
            )
        )
        folder_of = RunFolder.create(Path(folder) / "run")
        result = run_scenario(load(path), folder_of, lambda event: None)
        found, _ = checkpoint.newest(folder_of.checkpoints)
    if found is None:
        raise SystemExit(f"the run of {task.name} left no checkpoint")
    raw = found.memory["raw"]
    return {
        "accuracy": 100 * result.accuracy,
        "up": result.bytes_up,
        "basis": found.memory["basis"]["basis"],
        "raw": raw,
    }


def central(task: Task, raw: dict[str, Tensor], width: int = 20) -> Tensor:
    """Return the subspace that the kernel matrix over everyone's rows leads to."""
    x_t = torch.from_numpy(np.float32(task.x_t)).double()
    x = torch.cat([torch.from_numpy(np.float32(task.x)).double(), x_t])
    guess = (unit_rows(x_t) @ raw["raw.weight"].double().T + raw["raw.bias"].double()).argmax(dim=1)
    gap = KernelGap(unit_rows(x), torch.from_numpy(task.y), guess, lambda g, _: (g + 1) ** 2)
    return descend(gap.start(width), gap, gap.slope, STEPS)


def exact_gaussian(task: Task, width: int) -> float:
    """Return the accuracy after five outer iterations with the exact Gaussian kernel."""
    x, y = unit_rows(torch.from_numpy(task.both())), torch.from_numpy(task.y)
    mean = x.mean(dim=0)
    bandwidth = float(2 * (1 - mean @ mean)) * len(x) / (len(x) - 1)
    guess, basis = machine().fit(task.x, task.y).predict(task.x_t), None

    def kernel(inner: Tensor, lengths: Tensor) -> Tensor:
        return (-(lengths[:, None] + lengths - 2 * inner) / bandwidth).exp()

    for _ in range(ROUNDS):
        gap = KernelGap(x, y, torch.from_numpy(guess), kernel)
        basis = descend(gap.start(width) if basis is None else basis, gap, gap.slope, STEPS)
        z, z_t = (projected(rows, basis.numpy()) for rows in (task.x, task.x_t))
        guess = machine().fit(z, task.y).predict(z_t)
    return 100 * float((guess == task.y_t).mean())


def machine() -> LinearSVC:
    """Return the head of the runs: one class against the rest."""
    return LinearSVC(max_iter=10_000, random_state=0)


class KernelGap:
    """The discrepancy as the authors' code computes it: from the kernel matrix of all rows."""

    def __init__(
        self, x: Tensor, y: Tensor, guess: Tensor, kernel: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        n, n_t = len(y), len(guess)
        both = torch.cat([y, guess])
        rarity = torch.cat(
            [
                total / torch.bincount(labels, minlength=CLASSES).double()[labels]
                for total, labels in ((n, y), (n_t, guess))
            ]
        )
        ones = torch.ones(n + n_t, dtype=torch.float64)
        sign = torch.cat([ones[:n] / n, -ones[n:] / n_t])
        same = both[:, None] == both
        self._signed = same * (1 + torch.outer(rarity, rarity)) * torch.outer(sign, sign)
        self._x, self._kernel = x, kernel

    def start(self, width: int) -> Tensor:
        centred = self._x - self._x.mean(dim=0)
        return torch.linalg.eigh(centred.T @ centred).eigenvectors.flip(1)[:, :width].contiguous()

    def __call__(self, basis: Tensor) -> float:
        return float(self._of(basis))

    def slope(self, basis: Tensor) -> Tensor:
        leaf = basis.detach().requires_grad_()
        return torch.autograd.grad(self._of(leaf), leaf)[0]

    def _of(self, basis: Tensor) -> Tensor:
        z = self._x @ basis
        return (self._signed * self._kernel(z @ z.T, z.square().sum(dim=1))).sum()


def main() -> None:
    """Print what is asked for."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("archive", type=Path)
    said.add_argument("what", nargs="*", default=["equal", "random"])
    asked = said.parse_args()
    torch.set_num_threads(1)
    every = tasks(asked.archive)
    for what in asked.what:
        {"equal": equal, "random": random}[what](every)


if __name__ == "__main__":
    main()
