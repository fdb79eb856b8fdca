"""DMPN on MNIST and USPS: rate and scale of pixels chosen without a label of a target.

    python benchmarks/dmpn_digits.py mnist_usps.npz --out runs/dmpn_digits

The archive is that of gls_digits.py.  Both methods get the same grid on a seed of its own, a
fifth of the sources' examples held back: DMPN's setting is chosen by the deep embedded validation
risk, that of the sources alone by their accuracy on what was held back.  Then seeds 1 to 3 run
with what was chosen.  Lines of results.jsonl are kept: a second start goes on.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from cells import Results
from gls_digits import NAMES, SCORES
from safetensors.torch import load_file

from fedsim.data.federated import prepare
from fedsim.engine.evaluation import Evaluator
from fedsim.engine.run import run_scenario
from fedsim.models._build import build
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

SCENARIO = Path(__file__).parents[1] / "scenarios" / "dmpn_digits.yaml"
RATES, SCALES = (0.005, 0.02, 0.05), (False, True)
CHOOSING, SEEDS = 4, (1, 2, 3)
CHOSEN_BY = {"dmpn": "dev", "fedavg": "source_val"}


@dataclass(frozen=True)
class Cell:
    """One run."""

    way: str
    """``mnist>usps`` or back."""
    method: str
    seed: int
    lr: float
    standardised: bool
    held: int = 0
    """Percent of the examples kept for validation."""


def scenario(pair: Path, cell: Cell, folder: Path) -> Scenario:
    """Return the packaged scenario with the cell's domains and settings."""
    with np.load(pair, allow_pickle=False) as held:
        x, y, domain = (held[name] for name in ("x", "y", "domain"))
    images = (2 * x - 1).reshape(-1, 1, 16, 16).astype(np.float32)
    ends = cell.way.split(">")
    target = np.flatnonzero(domain == NAMES.index(ends[1]))
    np.savez(
        folder / "data.npz",
        x=images,
        y=y,
        domain=domain,
        domain_names=np.array(NAMES),
        x_test=images[target],
        y_test=y[target],
        domain_test=domain[target],
    )
    tree = yaml.safe_load(SCENARIO.read_text())
    tree["seed"] = cell.seed
    tree["data"] |= {
        "source": {"use": "npz", "path": str(folder / "data.npz")},
        "partition": {"use": "domains", "targets": [ends[1]]},
        "holdout": {"client_val": f"{cell.held}%"},
        "normalize": cell.standardised,
    }
    tree["local"]["lr"] = cell.lr
    tree["compute"] = {"backend": "local"}
    tree["checkpoint"] = {"every": tree["rounds"], "keep": 1}
    if cell.method == "fedavg":
        tree["strategy"] = "fedavg"
    path = folder / "cell.yaml"
    path.write_text(yaml.safe_dump(tree))
    return load(path)


def measured(pair: Path, cell: Cell, out: Path) -> dict[str, Any]:
    """Run one cell and return what it came to."""
    (folder := out / "data").mkdir(parents=True, exist_ok=True)
    of = scenario(pair, cell, folder)
    run = RunFolder.new(out / "runs", of.name, f"{time.time_ns():064x}")
    result = run_scenario(of, run, lambda event: None)
    row: dict[str, Any] = {"accuracy": result.accuracy, "up": result.bytes_up}
    if cell.held:
        data = prepare(of, run.path / "again")
        model = build(of.model, data.shape, data.classes, of.seed, of.folder)
        weights = load_file(run.path / "model.safetensors")
        for name in SCORES:
            by = of.model_copy(update={"adapt": of.adapt.model_copy(update={"select": name})})
            row[name] = Evaluator(by, data, None, model).standing(weights)  # type: ignore[arg-type]
    return row


def main() -> None:
    """Choose, run what is missing, and print a line for each direction and method."""
    said = argparse.ArgumentParser(description=__doc__)
    said.add_argument("pair", type=Path)
    said.add_argument("--out", type=Path, default=Path("runs/dmpn_digits"))
    asked = said.parse_args()
    pair, out = asked.pair.resolve(), asked.out.resolve()
    results = Results(out, lambda cell: measured(pair, cell, out))
    for way in ("mnist>usps", "usps>mnist"):
        for method, score in CHOSEN_BY.items():
            tried = [
                Cell(way, method, CHOOSING, lr, scale, held=20) for lr in RATES for scale in SCALES
            ]
            best = max(tried, key=lambda cell: results.of(cell)[score])
            found = [results.of(replace(best, seed=seed, held=0))["accuracy"] for seed in SEEDS]
            pixels = "standardised" if best.standardised else "as they are"
            each = ", ".join(f"{100 * accuracy:.1f}" for accuracy in found)
            row = f"{way} | `{method}` | {best.lr}, {pixels} | {each} | {100 * np.mean(found):.1f}"
            print(f"| {row} |", flush=True)


if __name__ == "__main__":
    main()
