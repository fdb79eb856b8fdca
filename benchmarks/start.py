"""From the start of a process to the end of its first round: fedsim, a bare Ray program, Flower.

    python benchmarks/start.py [--repeats 5] [--flower] [--fedsim OTHER_CHECKOUT]

100 clients of the workload ``tiny``, two workers, all files in the machine's cache (the first
turn of each system is not counted).  Systems run in turns.  Wall time says what a user waits, and
is worth nothing on a machine that others use too; CPU seconds are those of all processes of a
system up to that moment.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from workloads import tree_cpu

HERE = Path(__file__).parent


def scenario(folder: Path) -> Path:
    """Write the scenario that fedsim runs, and return where."""
    parts = HERE / "speed_parts.py"
    text = {
        "rounds": 1,
        "data": {"source": {"use": f"{parts}:Synthetic", "workload": "tiny"}},
        "model": {"use": f"{parts}:Net", "workload": "tiny"},
        "clients": {"count": 1000, "per_round": 100},
        "local": {"lr": 0.1, "batch_size": 10},
        "strategy": "fedavg",
        "compute": {"workers": 2},
    }
    path = folder / "start.yaml"
    path.write_text(json.dumps(text))
    return path


def commands(options: argparse.Namespace, folder: Path) -> dict[str, list[str]]:
    """Return each system's command; each says ``round 1`` at the end of its first round."""
    python, path = [sys.executable, "-W", "ignore"], str(scenario(folder))
    found = {}
    for backend in ("local", "ray"):
        words = ["run", path, "--out", str(folder), "--set", f"compute.backend={backend}"]
        found[f"fedsim {backend}"] = [*python, "-m", "fedsim", *words]
    if options.fedsim:
        for name in list(found):
            found[f"other {name}"] = ["env", f"PYTHONPATH={options.fedsim}", *found[name]]
    found["bare ray"] = [*python, "peer_bare.py", "tiny", "--workers", "2", "--rounds", "1"]
    if options.flower:
        found["flower"] = [*python, "peer_flower.py", "tiny", "--rounds", "2"]
    return found


def one(command: Sequence[str]) -> tuple[float, float]:
    """Return the wall and the CPU seconds from a command's start to its word of a first round."""
    environment = {"PYTHONPATH": str(HERE), **os.environ, "PYTHONUNBUFFERED": "1"}
    before, start = tree_cpu(), time.perf_counter()
    with subprocess.Popen(
        command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        for line in process.stdout or ():
            if line.startswith(b"round 1"):
                found = time.perf_counter() - start, tree_cpu() - before
    if process.returncode:
        raise SystemExit(f"{' '.join(command)[:200]} failed")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="how often all are run, in turns")
    parser.add_argument("--flower", action="store_true", help="run Flower's engine too: slow")
    parser.add_argument("--fedsim", help="another checkout, to be run beside this one")
    options = parser.parse_args()
    spent: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(options.repeats + 1):
            in_turn = list(commands(options, Path(folder)).items())
            # Each second turn backwards: what a system leaves behind slows down the one after it.
            for name, command in in_turn if number % 2 else reversed(in_turn):
                found = one(command)
                if number:  # the first turn fills the caches
                    spent.setdefault(name, []).append(found)
                print(
                    f"{number}/{options.repeats} {name:20} {found[0]:6.2f} s wall, "
                    f"{found[1]:6.2f} s CPU (load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )
    print("to the end of the first round, medians (lowest-highest)")
    for name, values in spent.items():
        wall, cpu = zip(*values, strict=True)
        print(
            f"{name:20} {statistics.median(wall):6.2f} s wall ({min(wall):.2f}-{max(wall):.2f})  "
            f"{statistics.median(cpu):6.2f} s CPU ({min(cpu):.2f}-{max(cpu):.2f})"
        )


if __name__ == "__main__":
    main()
