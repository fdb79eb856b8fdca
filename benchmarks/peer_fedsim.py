"""fedsim on a speed workload; prints a JSON line of each round's seconds and CPU seconds."""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import pairwise
from pathlib import Path

from workloads import WORKLOADS, tree_cpu

from fedsim.engine.run import run_scenario
from fedsim.runlog.events import Event, Note, RoundDone
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

HERE = Path(__file__).parent


def scenario(name: str, options: argparse.Namespace) -> dict[str, object]:
    """Return the workload as a scenario file holds it."""
    if name in ("W3", "W3moved"):
        return {
            "data": {
                "source": f"{HERE / 'noop_parts.py'}:OneEach",
                "partition": "iid",
                "normalize": False,
            },
            "model": {"use": "mlp", "hidden": [312, 4]},
            "clients": {"count": 1000},
            "local": {
                "use": f"{HERE / 'noop_parts.py'}:Noop",
                "delta": 0.01 if name == "W3moved" else 0.0,
            },
        }
    work, parts = WORKLOADS[name], HERE / "speed_parts.py"
    return {
        "data": {"source": {"use": f"{parts}:Synthetic", "workload": name}},
        "model": {"use": f"{parts}:Net", "workload": name},
        "clients": {
            "count": work.clients,
            "per_round": options.per_round or work.cohort,
            "sampler": "fedsim.cohort:RoundRobin",
        },
        "local": {"lr": work.lr, "batch_size": work.batch},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--cohort", default="off")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--compile", default="off")
    parser.add_argument("--per-round", type=int, help="clients a round; default: the workload's")
    options = parser.parse_args()
    spent: list[tuple[float, float]] = []

    def watch(event: Event) -> None:
        if isinstance(event, RoundDone):
            spent.append((event.record.seconds, tree_cpu()))
        elif isinstance(event, Note):
            print(event.text)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speed.yaml"
        text = scenario(options.workload, options) | {
            "rounds": options.rounds + 1,
            "strategy": "fedavg",
            "evaluation": {"every": 10_000},
            "checkpoint": {"every": 10_000},
            "compute": {
                "backend": "local" if options.workers == 1 else "ray",
                "workers": options.workers,
                "precision": options.precision,
                "compile": options.compile,
                "cohort": int(options.cohort) if options.cohort.isdigit() else options.cohort,
            },
        }
        path.write_text(json.dumps(text))
        run_scenario(load(path), RunFolder.create(Path(folder) / "run"), watch)
    # A round's CPU is what passed between two ends of rounds; the last one evaluates, and is left.
    cpu = [after - before for (_, before), (_, after) in pairwise(spent)]
    print(json.dumps({"wall": [wall for wall, _ in spent[1:-1]], "cpu": cpu[:-1]}))


if __name__ == "__main__":
    main()
