"""Few clients with a large network (W2): fedsim in float32 and bfloat16 beside the bare loop.

    python benchmarks/silo.py [--workload W2] [--rounds 3] [--repeats 3]

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", default="W2", choices=WORKLOADS)
    parser.add_argument("--rounds", type=int, default=3, help="per run; the first warms it up")
    parser.add_argument("--repeats", type=int, default=3, help="how often all are run, in turns")
    options = parser.parse_args()
    clients, spent = WORKLOADS[options.workload].cohort, {name: [] for name in SYSTEMS}
    for number in range(options.repeats):
        for name, (script, *more) in SYSTEMS.items():
            command = [sys.executable, "-W", "ignore", script, options.workload, *more]
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
