"""fedsim beside its peers on one workload, in turns; prints ratios with their spread.

    python benchmarks/speed.py W1m --pfl ENV/bin/python --jax ENV/bin/python
    python benchmarks/speed.py W1m --pfl ENV/bin/python --flower --workers 2
    python benchmarks/speed.py W3            # 1,000 clients that do nothing
    python benchmarks/speed.py W3moved       # and say that each parameter moved by 0.01

Every system runs a few rounds in a process of its own, then the next one does, and so on, several
times.  What is compared is CPU time per client, over all processes of a system and without its
start: on a machine that others use too, wall time tells mostly of them.  With several workers it
is wall time, which wants an idle machine; the bare loop then runs in as many Ray actors, pfl in as
many processes, of one of which it says the CPU time.  Flower's engine always has two actors.
``pfl`` (pip install pfl) and ``jax`` (pip install jax) need environments of their own; without
them they are left out.
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
    own, workers = [sys.executable, "-W", "ignore"], ["--workers", str(options.workers)]
    ours = [*own, "peer_fedsim.py", options.workload, *workers]
    found = {"fedsim": ours}
    if not options.workload.startswith("W3"):
        found |= {
            "fedsim stacked": [*ours, "--cohort", options.cohort],
            "bare loop": [*own, "peer_bare.py", options.workload, *workers],
        }
        if options.flower:
            found["flower"] = [*own, "peer_flower.py", options.workload]
        if options.pfl:
            torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
            many = [*torchrun, workers[-1]] if options.workers > 1 else []
            pfl = [options.pfl, "-W", "ignore", *many, "peer_pfl.py", options.workload]
            found["pfl-research"] = pfl
        if options.jax and options.workers == 1:
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
    parser.add_argument("--workers", type=int, default=1, help="processes that train")
    parser.add_argument("--flower", action="store_true", help="run Flower's engine too: slow")
    parser.add_argument("--pfl", help="the Python that has pfl")
    parser.add_argument("--jax", help="the Python that has jax")
    options = parser.parse_args()
    clients = 1000 if options.workload.startswith("W3") else 100
    what = "CPU" if options.workers == 1 else "wall"
    spent: dict[str, list[float]] = {}
    for number in range(options.repeats):
        for name, command in commands(options).items():
            rounds = max(3, options.rounds // 4) if name == "flower" else options.rounds
            if (found := one(command, rounds)) is not None:
                warm = {of: times[rounds // 5 :] for of, times in found.items()}
                # A mean, for the clock that other processes' time is read from ticks slowly.
                took = {
                    "CPU": 1000 * statistics.mean(warm["cpu"]) / clients,
                    "wall": 1000 * statistics.median(warm["wall"]) / clients,
                }
                spent.setdefault(name, []).append(took[what])
                print(
                    f"{number + 1}/{options.repeats} {name:15} {took['CPU']:8.3f} ms CPU, "
                    f"{took['wall']:8.3f} ms wall a client (load {os.getloadavg()[0]:.1f})",
                    flush=True,
                )
    reference = statistics.median(spent["fedsim"])
    print(f"{options.workload}: {what} ms a client, medians (lowest-highest), and against fedsim")
    for name, values in spent.items():
        middle = statistics.median(values)
        print(
            f"{name:15} {middle:8.3f} ({min(values):.3f}-{max(values):.3f})  "
            f"{middle / reference:6.2f}"
        )


if __name__ == "__main__":
    main()
