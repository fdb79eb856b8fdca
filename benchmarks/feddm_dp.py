"""Private FedDM against DP-SGD and averaging, at equal epsilon, from equally large grids.

    python benchmarks/feddm_dp.py --out runs/feddm_dp                  (the embedded digits)
    python benchmarks/feddm_dp.py --mnist mnist.npz --out runs/feddm_dp_mnist

For each skew and epsilon every method is given four settings to choose from: on a seed of its
own, by the accuracy on a fifth of the clients' examples that is held back (which no epsilon
accounts for).  Then seeds 1 to 3 run with all examples.  Lines of results.jsonl are kept: a second
start goes on.  MNIST is cut to its 10,000 test images, 8,000 of them to train.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from cells import Results
from safetensors.torch import load_file

from fedsim.data.federated import FederatedData, prepare
from fedsim.engine.run import run_scenario
from fedsim.models._build import build
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

ALPHAS, EPSILONS, SEEDS, CHOOSING = (0.1, 0.5), (2.0, 8.0), (1, 2, 3), 4
GRIDS: Mapping[str, list[dict[str, float]]] = {
    "dp_sgd": [{"lr": 0.5}, {"lr": 1.0}, {"lr": 2.0}, {"lr": 1.0, "momentum": 0.5}],
    "private_matching": [
        {"image_lr": 1.0, "epochs": 40},
        {"image_lr": 1.0, "epochs": 100},
        {"image_lr": 3.0, "epochs": 100},
        {"image_lr": 3.0, "epochs": 100, "clip": 0.3},
    ],
    "mean_embeddings": [
        {"clip": 4.0, "epochs": 40},
        {"clip": 4.0, "epochs": 100},
        {"clip": 8.0, "epochs": 100},
        {"clip": 4.0, "epochs": 100, "image_lr": 3.0},
    ],
}


@dataclass(frozen=True)
class Cell:
    """One run."""

    method: str
    alpha: float
    epsilon: float
    seed: int
    setting: tuple[tuple[str, float], ...]
    held: int = 0
    """Percent of the examples kept for validation."""


def halves(cell: Cell, is_large: bool) -> dict[str, Any]:
    """Return the sections `local` and `strategy`."""
    said = dict(cell.setting)
    said.pop("clip", None)
    steps, images = (40, 5) if is_large else (30, 5)
    if cell.method == "dp_sgd":
        rate = 0.04 if is_large else 0.25
        local = {"use": "dp_sgd", "steps": steps, "sample_rate": rate, "batch_size": 64, **said}
        return {"local": local, "strategy": "fedavg"}
    server = {"epochs": int(said.pop("epochs")), "lr": 0.01}
    local = {"use": cell.method, "images_per_class": images, "count_noise": 5.0, **said}
    if cell.method == "private_matching":
        local |= {"steps": steps, "sample_rate": 0.04 if is_large else 0.25}
        return {"local": local, "strategy": {"use": "feddm", **server}}
    local |= {"steps": 200, "models": 4}
    return {"local": local, "strategy": {"use": "feddm_me", **server}}


def scenario(cell: Cell, small: Path | None, folder: Path) -> Scenario:
    """Return the cell's scenario."""
    tree = {
        "name": "feddm_dp",
        "seed": cell.seed,
        "rounds": 4,
        "data": {
            "source": "digits" if small is None else {"use": "npz", "path": str(small)},
            "partition": {"use": "dirichlet", "alpha": cell.alpha},
            "holdout": {"client_val": f"{cell.held}%"},
        },
        "model": {"use": "convnet", "width": 16, "depth": 2 if small is None else 3},
        "clients": {"count": 5},
        "compute": {"backend": "local"},
        "privacy": {
            "unit": "record",
            "clip": dict(cell.setting).get("clip", 1.0),
            "budget": {"epsilon": cell.epsilon},
            "delta": 0.0005 if small is None else 1e-5,
            "rng": "simulation",
        },
        **halves(cell, small is not None),
    }
    path = folder / "cell.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load(path)


def cut(mnist: Path, folder: Path) -> Path:
    """Write the archive of 8,000 and 2,000 of MNIST's test images; return where."""
    with np.load(mnist, allow_pickle=False) as held:
        x, y = held["x_test"], held["y_test"]
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:8000], order[8000:]
    path = folder / "mnist_10k.npz"
    np.savez(path, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])
    return path


def held_back(of: Scenario, data: FederatedData, run: RunFolder) -> float:
    """Return the last model's accuracy on all clients' validation parts."""
    model = build(of.model, data.shape, data.classes, of.seed, of.folder).eval()
    model.load_state_dict(load_file(run.path / "model.safetensors"), strict=False)
    right = count = 0
    with torch.no_grad():
        for client in data.clients:
            part = data.part(client.id, "val")
            if len(part):
                right += int((model(part.inputs).argmax(1) == part.labels).sum())
                count += len(part)
    return right / count


def measured(cell: Cell, small: Path | None, out: Path) -> dict[str, Any]:
    """Run one cell and return what it came to."""
    start, of = time.process_time(), scenario(cell, small, out)
    run = RunFolder.new(out / "runs", of.name, f"{time.time_ns():064x}")
    run_scenario(of, run, lambda event: None)
    row: dict[str, Any] = {"curve": [line.accuracy for line in run.rounds()]}
    if cell.held:
        row["held_back"] = held_back(of, prepare(of, run.path / "again"), run)
    return row | {"cpu_seconds": time.process_time() - start}


def main() -> None:
    """Choose, run what is missing, and print a line for each method, skew and epsilon."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("--mnist", type=Path, help="x_test (10000, 28, 28) and y_test are used")
    said.add_argument("--out", type=Path, default=Path("runs/feddm_dp"))
    asked = said.parse_args()
    torch.set_num_threads(1)
    (out := asked.out.resolve()).mkdir(parents=True, exist_ok=True)
    small = None if asked.mnist is None else cut(asked.mnist, out)
    results = Results(out, lambda cell: measured(cell, small, out))
    for alpha in ALPHAS:
        for epsilon in EPSILONS:
            for method, grid in GRIDS.items():
                tried = [
                    Cell(method, alpha, epsilon, CHOOSING, tuple(one.items()), held=20)
                    for one in grid
                ]
                best = max(tried, key=lambda cell: results.of(cell)["held_back"])
                runs = [results.of(replace(best, seed=seed, held=0)) for seed in SEEDS]
                curve = 100 * np.array([run["curve"] for run in runs])
                mean = ", ".join(f"{value:.1f}" for value in curve.mean(axis=0))
                last = f"± {curve[:, -1].std(ddof=1):.1f}"
                print(f"| {alpha} | {epsilon:g} | `{method}` | {mean} {last} | {best.setting} |")


if __name__ == "__main__":
    main()
