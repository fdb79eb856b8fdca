"""fedsim beside its peers on one workload, in turns; prints ratios with their spread.

    python benchmarks/speed.py W1m --pfl ENV/bin/python --jax ENV/bin/python
    python benchmarks/speed.py W3            # 1,000 clients that do nothing
    python benchmarks/speed.py W3moved       # and say that each parameter moved by 0.01

Every system runs a few rounds in a process of its own, then the next one does, and so on, several
times.  What is compared is CPU time per client, over all processes of a system and without its
start: on a machine that others use too, wall time tells mostly of them.  ``pfl`` (pip install
pfl) and ``jax`` (pip install jax) need environments of their own; without them they are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return each system's command."""
    own = [sys.executable, "-W", "ignore"]
    ours = [*own, "peer_fedsim.py", options.workload]
    found = {"fedsim": ours}
    if not options.workload.startswith("W3"):
        found |= {
            "fedsim stacked": [*ours, "--cohort", options.cohort],
            "bare loop": [*own, "peer_bare.py", options.workload],
        }
        if options.flower:
            found["flower"] = [*own, "peer_flower.py", options.workload]
        if options.pfl:
            found["pfl-research"] = [options.pfl, "-W", "ignore", "peer_pfl.py", options.workload]
        if options.jax:
            jax = [options.jax, "peer_jax.py", options.workload]
            found |= {"jax vmap": jax, "jax loop": [*jax, "--loop"]}
    return found


def one(command: list[str], rounds: int) -> dict[str, list[float]] | None:
    """Return what one run of a system took per round; None if it failed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(HERE)}
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    done = subprocess.run(
        [*command, "--rounds", str(rounds)],
        cwd=HERE,
        capture_output=True,
        text=True,
        env=environment,
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"wall"')]
    if not lines:
        print(f"{command[2]} failed: {(done.stderr.splitlines() or ['no word'])[-1]}", flush=True)
        return None
    return json.loads(lines[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workload", help="W1, W1b, W1m, tiny, W3 or W3moved")
    parser.add_argument("--rounds", type=int, default=14, help="per run; a fifth warm it up")
    parser.add_argument("--repeats", type=int, default=3, help="how often all are run, in turns")
    parser.add_argument("--cohort", default="16", help="the size of the stacks, or auto")
    parser.add_argument("--flower", action="store_true", help="run Flower's engine too: slow")
    parser.add_argument("--pfl", help="the Python that has pfl")
    parser.add_argument("--jax", help="the Python that has jax")
    options = parser.parse_args()
    clients = 1000 if options.workload.startswith("W3") else 100
    spent: dict[str, list[float]] = {}
    for number in range(options.repeats):
        for name, command in commands(options).items():
            rounds = max(3, options.rounds // 4) if name == "flower" else options.rounds
            if (found := one(command, rounds)) is not None:
                warm = found["cpu"][rounds // 5 :]
                # One figure a run: the clock that other processes' time is read from ticks slowly.
                spent.setdefault(name, []).append(1000 * sum(warm) / len(warm) / clients)
                load = os.getloadavg()[0]
                print(
                    f"{number + 1}/{options.repeats} {name:15} {spent[name][-1]:8.3f} ms CPU, "
                    f"{1000 * statistics.median(found['wall']) / clients:8.3f} ms wall a client "
                    f"(load {load:.1f})",
                    flush=True,
                )
    reference = statistics.median(spent["fedsim"])
    print(f"{options.workload}: CPU ms a client, medians (lowest-highest), and against fedsim")
    for name, values in spent.items():
        middle = statistics.median(values)
        print(
            f"{name:15} {middle:8.3f} ({min(values):.3f}-{max(values):.3f})  "
            f"{middle / reference:6.2f}"
        )


if __name__ == "__main__":
    main()
