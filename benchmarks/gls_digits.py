"""Reweighting under label shift: MNIST and USPS, 30 % of the digits 0 to 4 kept at the source.

    python benchmarks/gls_digits.py mnist_usps.npz --out runs/gls_digits

The archive holds the pairs of Long et al. 2013: x (3800, 256) in [0, 1], y, domain (0 MNIST, 1
USPS).  First the strength of adaptation, then the start of reweighting are chosen on seed 1 by
the deep embedded validation risk, which no label of a target enters; then every method runs with
seeds 1 to 3.  Lines of results.jsonl are kept: a second start goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from cells import Results

from fedsim.adapt.gls import shrunk
from fedsim.data.federated import prepare
from fedsim.engine.evaluation import Evaluator
from fedsim.engine.run import run_scenario
from fedsim.errors import QuorumLost
from fedsim.models._build import build
from fedsim.runlog import checkpoint
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

PARTS = Path(__file__).with_name("gls_digits_parts.py")
NAMES = ("mnist", "usps")
METHODS = {"dann": "iwdan", "cdan": "iwcdan", "jan": "iwjan"}
STRENGTHS, STARTS, SEEDS = (0.1, 1.0), (6, 30), (1, 2, 3)
SCORES = ("dev", "source_val", "entropy")
ROUNDS = 60


@dataclass(frozen=True)
class Cell:
    """One run."""

    way: str
    """``mnist>usps`` or back."""
    method: str
    seed: int
    sources: int = 1
    trade_off: float = 1.0
    iw_start: int = 6
    held: int = 0
    """Percent of the examples kept for validation."""
    domain_loss_cap: float | None = None
    """None for the methods without a discriminator, and for the papers' discriminators."""


def archive(pair: Path, cell: Cell, folder: Path) -> tuple[Path, np.ndarray]:
    """Write the cell's data; return where, and the true ratios of the classes."""
    with np.load(pair, allow_pickle=False) as held:
        x, y, domain = (held[name] for name in ("x", "y", "domain"))
    images = (2 * x - 1).reshape(-1, 16, 16).astype(np.float32)
    source, target = (np.flatnonzero(domain == NAMES.index(n)) for n in cell.way.split(">"))
    generator = np.random.default_rng(cell.seed)
    kept = [
        generator.choice(rows, int((0.3 if c < 5 else 1.0) * len(rows)), replace=False)
        for c in range(10)
        for rows in [source[y[source] == c]]
    ]
    source = np.sort(np.concatenate(kept))
    both = np.concatenate([source, target])
    path = folder / f"{cell.way.replace('>', '_')}_{cell.seed}.npz"
    np.savez(
        path,
        x_train=images[both],
        y_train=y[both],
        domain_train=np.repeat([0, 1], [len(source), len(target)]),
        x_test=images[target],
        y_test=y[target],
        domain_test=np.ones(len(target), np.int64),
        domain_names=np.array(cell.way.split(">")),
    )
    share = [np.bincount(y[rows], minlength=10) / len(rows) for rows in (source, target)]
    return path, share[1] / share[0]


def strategy(cell: Cell, truth: np.ndarray) -> dict[str, Any]:
    """Return the section ``strategy``: the same steps for all, as far as they have them."""
    if cell.method == "fedavg":
        return {"use": "fedavg"}
    base = cell.method.removesuffix("-o")
    said: dict[str, Any] = {"use": base, "trade_off": cell.trade_off, "warm_up": 5}
    said["ramp_rounds"] = ROUNDS
    if not base.endswith("jan"):
        said |= {"adversary_steps": 5, "adversary_lr": 0.02, "hidden": 256}
        said |= {"domain_loss_cap": cell.domain_loss_cap}
    if base.startswith("iw"):
        said |= {"iw_start": cell.iw_start, "shrink": 0.5}
    if cell.method.endswith("-o"):
        said |= {"use": f"{PARTS}:{base.capitalize()}Oracle", "truth": [float(w) for w in truth]}
        said |= {"iw_start": 1, "shrink": 1.0}
    return said


def half(method: str) -> str:
    """Return the client half: what is plugged in from a file has to name it."""
    if method == "fedavg":
        return "sgd"
    return "joint_embedding" if "jan" in method else "adversarial"


def scenario(pair: Path, cell: Cell, folder: Path) -> tuple[Scenario, np.ndarray]:
    """Return the cell's scenario and the true ratios."""
    data, truth = archive(pair, cell, folder)
    _, target = cell.way.split(">")
    tree = {
        "name": "gls_digits",
        "seed": cell.seed,
        "rounds": ROUNDS,
        "data": {
            "source": {"use": "npz", "path": str(data)},
            "partition": {
                "use": f"{PARTS}:OneTarget",
                "sources": cell.sources,
                "targets": [target],
            },
            "holdout": {"client_val": f"{cell.held}%"},
            "normalize": False,
        },
        "model": {"use": f"{PARTS}:Digits"},
        "clients": {"count": cell.sources + 1},
        "local": {
            "use": half(cell.method),
            "lr": 0.02,
            "steps": 20,
            "batch_size": 64,
            "momentum": 0.9,
        }
        | {"weight_decay": 0.0005},
        "strategy": strategy(cell, truth),
        "evaluation": {"every": 10},
        "checkpoint": {"every": ROUNDS, "keep": 1},
        "compute": {"backend": "local"},
    }
    path = folder / "cell.yaml"
    path.write_text(json.dumps(tree))
    return load(path), truth


def measured(pair: Path, cell: Cell, out: Path) -> dict[str, Any]:
    """Run one cell and return what it came to."""
    (folder := out / "data").mkdir(parents=True, exist_ok=True)
    of, truth = scenario(pair, cell, folder)
    run = RunFolder.new(out / "runs", of.name, f"{time.time_ns():064x}")
    try:
        result = run_scenario(of, run, lambda event: None)
    except QuorumLost as error:  # numbers too large for any sum: the adversary ran away
        lost = {"accuracy": 0.1, "diverged": str(error)[:200], "up": 0, "down": 0, "ones": 0.0}
        return lost | dict.fromkeys(SCORES, -math.inf)
    found, _ = checkpoint.newest(run.checkpoints)
    curve = [line.domains[cell.way.split(">")[1]] for line in run.rounds() if line.domains]
    row = {
        "accuracy": result.accuracy,
        "curve": curve,
        "up": result.bytes_up,
        "down": result.bytes_down,
        "seconds": result.seconds,
        "ones": float(np.linalg.norm(1 - truth)),
    }
    if found and "ratios" in found.memory:
        row["error"] = _error(found.memory["ratios"], truth, strategy(cell, truth)["shrink"])
    if found and cell.held:
        row |= _scores(of, found.weights, run.path / "again")
    return row


def _error(kept: Mapping[str, Any], truth: np.ndarray, shrink: float) -> float:
    """Return the distance of the ratios as they were used from the true ones."""
    (found,) = kept.values()
    return float(np.linalg.norm(shrunk(found.numpy(), shrink) - truth))


def _scores(of: Scenario, weights: Any, store: Path) -> dict[str, float]:
    """Return how good the last model is by each rule that sees no label of a target."""
    data = prepare(of, store)
    model = build(of.model, data.shape, data.classes, of.seed, of.folder)
    scores = {}
    for name in SCORES:
        by = of.model_copy(update={"adapt": of.adapt.model_copy(update={"select": name})})
        scores[name] = Evaluator(by, data, None, model).standing(weights)  # type: ignore[arg-type]
    return scores


def chosen(results: Results, way: str) -> dict[str, Any]:
    """Return what the reweighted validation risk prefers, by method: strengths, and one start.

    CDAN takes DANN's strength, and the reweighted methods those of their bases.
    """
    cell = partial(Cell, way, seed=1, held=20)

    def best(cells: dict[Any, Cell]) -> Any:
        return max(cells, key=lambda value: results.of(cells[value])["dev"])

    found = {
        base: best({u: cell(method=base, trade_off=u) for u in STRENGTHS})
        for base in ("dann", "jan")
    }
    tried = partial(cell, method="iwdan", trade_off=found["dann"])
    start = best({number: tried(iw_start=number) for number in STARTS})
    return {**found, "cdan": found["dann"], "start": start}


def cells(
    results: Results, way: str, sources: int, oracles: bool, cap: float | None
) -> dict[str, Cell]:
    """Return the first seed's cell of every row of one table; ``cap`` is of discriminators."""
    plain = partial(Cell, way, seed=1, sources=sources)
    rows, said = {"fedavg": plain(method="fedavg")}, chosen(results, way)
    for base, weighted in METHODS.items():
        at = plain if base == "jan" else partial(plain, domain_loss_cap=cap)
        rows[base] = at(method=base, trade_off=said[base])
        rows[weighted] = at(method=weighted, trade_off=said[base], iw_start=said["start"])
        if oracles and sources == 1:
            rows[f"{weighted}-o"] = at(method=f"{weighted}-o", trade_off=said[base])
    return rows


def table(results: Results, rows: dict[str, Cell]) -> None:
    """Print one table."""
    for method, first in rows.items():
        found = [results.of(replace(first, seed=seed)) for seed in SEEDS]
        accuracy = 100 * np.array([one["accuracy"] for one in found])
        errors = [one.get("error", one["ones"]) for one in found]
        lost = sum("diverged" in one for one in found)
        note = f" ({lost} diverged: chance)" if lost else ""
        print(
            f"| `{method}`{note} | {accuracy.mean():.1f} ± {accuracy.std():.1f} | "
            f"{np.mean(errors):.2f} | {first.trade_off} | {first.iw_start} | "
            f"{found[0]['up'] / 1e6:.0f}, {found[0]['down'] / 1e6:.0f} |",
            flush=True,
        )


def main() -> None:
    """Run what is missing, way by way and seed by seed, and print the tables."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("pair", type=Path)
    said.add_argument("--out", type=Path, default=Path("runs/gls_digits"))
    said.add_argument("--sources", type=int, nargs="*", default=[1, 3])
    said.add_argument("--no-oracles", action="store_true")
    said.add_argument("--uncapped", action="store_true", help="discriminators as in the papers")
    asked = said.parse_args()
    pair, out = asked.pair.resolve(), asked.out.resolve()
    results = Results(out, lambda cell: measured(pair, cell, out))
    cap = None if asked.uncapped else 1.4
    for sources in asked.sources:
        for way in ("mnist>usps", "usps>mnist"):
            rows = cells(results, way, sources, not asked.no_oracles, cap)
            for seed in SEEDS:
                for first in rows.values():
                    results.of(replace(first, seed=seed))
            print(f"\n{way}, {sources} source client(s)")
            table(results, rows)


if __name__ == "__main__":
    main()
