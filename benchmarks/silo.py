"""Few clients with a large network (W2): fedsim in float32 and bfloat16 beside its peers.

    python benchmarks/silo.py [--workload W2] [--rounds 3] [--repeats 3]
    python benchmarks/silo.py --flower --pfl ENV/bin/python      # other systems too

Ten clients of 500 images each train FedDM's ConvNet for one pass in batches of 50.  Every system
runs in processes of its own, in turns.  Compared is CPU time per client, over all processes and
without start and warm-up, which for compiled code is the compiling.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys

from speed import one
from workloads import WORKLOADS

SYSTEMS = {
    "bare loop": ["peer_bare.py"],
    "float32": ["peer_fedsim.py"],
    "compiled": ["peer_fedsim.py", "--compile", "on"],
    "bf16": ["peer_fedsim.py", "--precision", "bf16"],
    "bf16 compiled": ["peer_fedsim.py", "--precision", "bf16", "--compile", "on"],
}


def commands(options: argparse.Namespace) -> dict[str, list[str]]:
    """Return each system's command."""
    scripts = SYSTEMS | ({"flower": ["peer_flower.py"]} if options.flower else {})
    pythons = dict.fromkeys(scripts, sys.executable)
    if options.pfl:
        scripts["pfl-research"], pythons["pfl-research"] = ["peer_pfl.py"], options.pfl
    return {
        name: [pythons[name], "-W", "ignore", script, options.workload, *more]
        for name, (script, *more) in scripts.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="W2", choices=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=3, help="per run; the first warms it up")
    parser.add_argument("--repeats", type=int, default=3, help="how often all are run, in turns")
    parser.add_argument("--flower", action="store_true", help="run Flower's engine too")
    parser.add_argument("--pfl", help="the Python that has pfl")
    options = parser.parse_args()
    systems, clients = commands(options), WORKLOADS[options.workload].cohort
    spent: dict[str, list[float]] = {name: [] for name in systems}
    for number in range(options.repeats):
        for name, command in systems.items():
            if (found := one(command, options.rounds)) is None:
                continue
            spent[name] += [1000 * cpu / clients for cpu in found["cpu"]]
            middle, load = statistics.median(spent[name]), os.getloadavg()[0]
            print(f"{number + 1}/{options.repeats} {name:14} {middle:8.0f} ms (load {load:.1f})")
    reference = statistics.median(spent["bare loop"])
    print(f"{options.workload}: CPU ms a client, medians (lowest-highest), times the bare loop")
    for name, values in spent.items():
        if values:
            middle = statistics.median(values)
            lowest, highest = min(values), max(values)
            print(
                f"{name:14} {middle:8.0f} ({lowest:.0f}-{highest:.0f})  {reference / middle:5.2f}"
            )


if __name__ == "__main__":
    main()
