"""Hashes of one small run of every strategy: what a change of the code must not change.

    python benchmarks/hashes.py run --checkout OLD --out old.json
    python benchmarks/hashes.py run --checkout NEW --out new.json
    python benchmarks/hashes.py compare old.json new.json

Each case runs in this process's Python with the code of the checkout: in process and on two Ray
workers, one by one and with four clients stacked.  A combination that is refused, such as a
strategy whose clients cannot be stacked, is recorded by its exit code.  Nothing of fedsim is
imported here, so that checkouts with any layout can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]

SMALL: dict[str, Any] = {
    "seed": 7,
    "rounds": 2,
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.5}},
    "model": {"use": "mlp", "hidden": [16]},
    "clients": {"count": 6, "per_round": 5},
    "local": {"lr": 0.1, "epochs": 1, "batch_size": 16},
}
DOMAINS: dict[str, Any] = {
    **SMALL,
    "data": {
        "source": {"use": "digits_domains", "domains": ["plain", "blurred"]},
        "partition": {"use": "domains", "targets": ["blurred"]},
    },
    "clients": {},
    "local": {"lr": 0.05, "steps": 3, "batch_size": 16},
}
IMAGES = {"model": {"use": "convnet", "width": 4, "depth": 1}, "clients": {"count": 4}}
NOISE = {"clip": 1.0, "noise_multiplier": 1.0, "rng": "simulation"}
RECORD = {**NOISE, "unit": "record", "delta": 1e-4}
CLIENT = {**NOISE, "unit": "client", "delta": 1e-3}
AT_ONCE = {"warm_up": 0, "ramp_rounds": 1}
"""So that features deceive the discriminator within the two rounds that a case has."""


def small(**sections: Any) -> dict[str, Any]:
    return {**SMALL, **sections}


def domains(**sections: Any) -> dict[str, Any]:
    return {**DOMAINS, **sections}


STRATEGIES: dict[str, dict[str, Any]] = {
    "fedavg": small(strategy="fedavg"),
    "fedavgm": small(strategy="fedavgm", model={"use": "lenet"}),
    "fedprox": small(strategy={"use": "fedprox", "mu": 0.1}),
    "fedadam": small(strategy="fedadam"),
    "fedyogi": small(strategy="fedyogi"),
    "fedadagrad": small(strategy="fedadagrad"),
    "fednova": small(strategy="fednova"),
    "fedmedian": small(strategy="fedmedian"),
    "fedtrimmedavg": small(strategy="fedtrimmedavg"),
    "scaffold": small(strategy="scaffold"),
    "feddm": small(strategy={"use": "feddm", "epochs": 2}, **IMAGES, local={"steps": 2}),
    "feddm_me": small(
        strategy={"use": "feddm_me", "epochs": 2},
        **IMAGES,
        privacy=RECORD,
        local={"images_per_class": 2, "steps": 2, "count_noise": 3.0},
    ),
    "dann": domains(strategy={"use": "dann", **AT_ONCE}),
    "cdan": domains(strategy={"use": "cdan", "entropy": True, **AT_ONCE}),
    "jan": domains(strategy={"use": "jan", **AT_ONCE}),
    "iwdan": domains(strategy={"use": "iwdan", "iw_start": 1, **AT_ONCE}),
    "iwcdan": domains(strategy={"use": "iwcdan", "iw_start": 1, "shared_q": True, **AT_ONCE}),
    "iwjan": domains(strategy={"use": "iwjan", "iw_start": 1, **AT_ONCE}),
    "dmpn": domains(strategy={"use": "dmpn", **AT_ONCE}),
    "jdme": domains(strategy="jdme", model={"use": "projected", "dimensions": 8}, local={}),
}
"""A scenario for each strategy on the shelf."""

OTHERS: dict[str, dict[str, Any]] = {
    "momentum, decay": small(
        strategy="fedavg", local={"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3, "lr_decay": 0.9}
    ),
    "resnet8_gn": small(strategy="fedavg", model="resnet8_gn", clients={"count": 3}),
    "shards, rotation": small(
        strategy="fedavg",
        data={"source": "digits", "partition": "shards", "feature_shift": "rotation"},
    ),
    "dann, exact": domains(strategy={"use": "dann", "form": "exact", **AT_ONCE}),
    "dann, fedmm": domains(strategy={"use": "dann", "form": "fedmm", **AT_ONCE}),
    "dann, features": domains(
        strategy={"use": "dann", "form": "features", **AT_ONCE},
        local={"lr": 0.05, "feature_clip": 1.0, "feature_noise": 1.0},
    ),
    "client-level": small(strategy="fedadam", privacy=CLIENT),
    "client-level, adaptive": small(
        strategy="fedavg", privacy={**CLIENT, "clipping": "adaptive", "noise_multiplier": 0.3}
    ),
    "client-level, local": small(
        strategy="fedavg", privacy={**CLIENT, "placement": "local"}, clients={"count": 6}
    ),
    "dp_sgd": small(
        strategy="fedavg",
        privacy=RECORD,
        local={"use": "dp_sgd", "steps": 3, "sample_rate": 0.1, "batch_size": 8},
    ),
    "dp_sgd, resnet": small(
        strategy="fedavg",
        model="resnet8_gn",
        clients={"count": 2},
        privacy=RECORD,
        local={"use": "dp_sgd", "steps": 1, "sample_rate": 0.02, "batch_size": 4},
    ),
    "private_matching": small(
        strategy={"use": "feddm", "epochs": 2},
        **IMAGES,
        privacy=RECORD,
        local={
            **{"use": "private_matching", "images_per_class": 2, "steps": 2},
            **{"sample_rate": 0.5, "count_noise": 3.0},
        },
    ),
    "mean_embeddings": small(
        strategy={"use": "feddm", "epochs": 2},
        **IMAGES,
        privacy=RECORD,
        local={"use": "mean_embeddings", "images_per_class": 2, "steps": 2, "count_noise": 3.0},
    ),
    "private_adversarial": domains(
        strategy={"use": "iwdan", "iw_start": 1, **AT_ONCE},
        privacy=RECORD,
        local={"use": "private_adversarial", "steps": 2, "sample_rate": 0.1, "batch_size": 8},
    ),
    "private_moments": domains(
        strategy={"use": "jdme", "final_head": "moment"},
        model={"use": "projected", "dimensions": 8},
        privacy=RECORD,
        local={"use": "private_moments"},
    ),
}

COMPUTE: dict[str, dict[str, Any]] = {
    "local": {"backend": "local"},
    "local, stacked": {"backend": "local", "cohort": 4},
    "Ray": {"backend": "ray", "workers": 2},
    "Ray, stacked": {"backend": "ray", "workers": 2, "cohort": 4},
}


def cases() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield every case: its name, where it runs, and its scenario.

    Raises:
        ValueError: if a strategy on the shelf has no scenario.
    """
    shelf = {path.stem for path in (ROOT / "strategies").glob("[a-z]*.py")}
    if missing := shelf - STRATEGIES.keys():
        raise ValueError(f"strategies without a scenario: {', '.join(sorted(missing))}")
    quickstart = yaml.safe_load((ROOT / "scenarios" / "quickstart.yaml").read_text())
    for name, scenario in {"quickstart": quickstart, **STRATEGIES, **OTHERS}.items():
        for place, compute in COMPUTE.items():
            yield name, place, {**scenario, "compute": compute}


def hashes_of(checkout: Path, scenario: dict[str, Any]) -> list[str]:
    """Return the hashes of weights and metrics; the exit code where the run is refused."""
    environment = {**os.environ, "PYTHONPATH": str(checkout), "MKL_CBWR": "AUTO,STRICT"}
    with tempfile.TemporaryDirectory() as folder:
        file, run = Path(folder) / "scenario.yaml", Path(folder) / "run"
        file.write_text(yaml.safe_dump(scenario))
        command = [sys.executable, "-m", "fedsim", "-q", "run", str(file), "--run-dir", str(run)]
        # Started there: Python looks for fedsim in the working folder first.
        done = subprocess.run(
            command, env=environment, cwd=checkout, capture_output=True, text=True
        )
        if done.returncode:
            last = (done.stderr.splitlines() or [""])[0]
            return [f"exit {done.returncode}", last]
        result = json.loads((run / "result.json").read_text())
        return [result["weights_sha256"], result["metrics_sha256"]]


def run(checkout: Path, out: Path, only: str) -> None:
    """Run all cases and write their hashes."""
    every = [case for case in cases() if only in case[0]]
    found: dict[str, dict[str, list[str]]] = {}
    for number, (name, place, scenario) in enumerate(every, 1):
        hashes = hashes_of(checkout, scenario)
        found.setdefault(name, {})[place] = hashes
        print(f"{number}/{len(every)} {name}, {place}: {hashes[0][:12]}", flush=True)
        out.write_text(json.dumps(found, indent=1))


def compare(first: Path, second: Path) -> int:
    """Print the table of what is equal; return 1 if anything is not."""
    old, new = (json.loads(path.read_text()) for path in (first, second))
    print(f"| case | {' | '.join(COMPUTE)} |\n|{'---|' * (len(COMPUTE) + 1)}")
    is_equal = old.keys() == new.keys()
    for name in old:
        cells = []
        for place in COMPUTE:
            before, after = old[name].get(place), new.get(name, {}).get(place)
            is_refused = str((before or [""])[0]).startswith("exit")
            is_same = before == after or (is_refused and (before or [0])[0] == (after or [1])[0])
            is_equal = is_equal and is_same
            equal = "refused by both" if is_refused else f"{(before or [''])[0][:8]}, equal"
            cells.append(equal if is_same else "DIFFERS")
        print(f"| {name} | {' | '.join(cells)} |")
    return 0 if is_equal else 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    runs = commands.add_parser("run", help="run all cases with the code of a checkout")
    runs.add_argument("--checkout", type=Path, default=ROOT)
    runs.add_argument("--out", type=Path, required=True)
    runs.add_argument("--only", default="", help="cases whose name holds this")
    compares = commands.add_parser("compare", help="compare two files of hashes")
    compares.add_argument("first", type=Path)
    compares.add_argument("second", type=Path)
    options = parser.parse_args()
    if options.command == "run":
        run(options.checkout.resolve(), options.out, options.only)
        return 0
    return compare(options.first, options.second)


if __name__ == "__main__":
    sys.exit(main())
