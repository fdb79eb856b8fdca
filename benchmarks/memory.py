"""Memory: 10,000 clients a round against 1,000, and a million clients that only exist.

    python benchmarks/memory.py [cohort | population]

Clients do nothing, but say that each of a model's 100,000 parameters moved.  Each figure is the
peak resident size of a process of its own, without the libraries: what the same process holds
before the run begins is taken away.  ``idle`` is the share of a core that all processes of a run
take while it waits, here for ten seconds after its first round; with two workers most of it is
Ray's own.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from workloads import tree_cpu

HERE = Path(__file__).parent
MIB = 1024**2


def idle(settle: float = 5.0, seconds: float = 10.0) -> float:
    """Return the share of a core that this process and its children take while it sleeps."""
    time.sleep(settle)
    before = tree_cpu()
    time.sleep(seconds)
    return (tree_cpu() - before) / seconds


def run(clients: int, cohort: int, workers: int, waits: bool = False) -> None:
    """Run three rounds and print what they took; with ``waits``, wait once between them."""
    import ray  # noqa: F401  # so that it counts as a library
    import torch

    from fedsim.engine.run import run_scenario
    from fedsim.runlog.events import Event, RoundDone, Started
    from fedsim.runlog.run_folder import RunFolder
    from fedsim.scenario.load import load

    torch.set_num_threads(1)
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    start, marks = time.perf_counter(), {}

    def watch(event: Event) -> None:
        if isinstance(event, Started | RoundDone):
            marks.setdefault(type(event).__name__, time.perf_counter() - start)
        if waits and isinstance(event, RoundDone) and "idle" not in marks:
            marks["idle"] = idle()

    parts = HERE / "noop_parts.py"
    text = {
        "rounds": 3,
        "data": {
            "source": {"use": f"{parts}:OneEach", "clients": clients, "width": 8},
            "partition": "iid",
            "normalize": False,
        },
        "model": {"use": "mlp", "hidden": [4000, 16]},
        "clients": {"count": clients, "per_round": cohort},
        "local": {"use": f"{parts}:Noop", "delta": 0.01},
        "strategy": "fedavg",
        "evaluation": {"every": 10},
        "compute": {"backend": "local" if workers == 1 else "ray", "workers": workers},
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "memory.yaml"
        path.write_text(json.dumps(text))
        run_scenario(load(path), RunFolder.create(Path(folder) / "run"), watch)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    cpu = time.process_time()
    print(json.dumps({"mib": (peak - base) / MIB, "cpu": cpu, **marks}))


def measured(clients: int, cohort: int, workers: int = 1, waits: bool = False) -> dict[str, float]:
    """Return what a run took, in a process of its own."""
    numbers = f"{clients},{cohort},{workers},{int(waits)}"
    command = [sys.executable, "-W", "ignore", __file__, "run", numbers]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{clients:9,} clients, {cohort:6,} a round, {workers} worker(s): {found}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", default="cohort", help="cohort, population or run")
    parser.add_argument("numbers", nargs="?", default="")
    options = parser.parse_args()
    if options.what == "run":
        run(*map(int, options.numbers.split(",")))
    elif options.what == "cohort":
        few, many = (measured(10_000, cohort)["mib"] for cohort in (1_000, 10_000))
        print(f"10,000 a round take {many / few:.2f} times what 1,000 do")
    else:
        for clients in (10_000, 100_000, 1_000_000):
            measured(clients, 100)
        for workers in (1, 2):
            measured(1_000_000, 100, workers, waits=True)


if __name__ == "__main__":
    main()
