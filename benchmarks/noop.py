"""What the framework alone costs: 1,000 clients a round that return 100k parameters untouched.

    python benchmarks/noop.py [--rounds 4] [--repeats 3]

fedsim on Ray with two workers and Flower's own simulation engine with two actors, one after the
other, several times; prints clients per second and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CLIENTS = 1000


def ours(rounds: int) -> list[float]:
    """Return the seconds of each round but the first."""
    with tempfile.TemporaryDirectory() as folder:
        scenario = Path(folder) / "noop.yaml"
        scenario.write_text(
            json.dumps(
                {
                    "rounds": rounds,
                    "data": {
                        "source": f"{HERE / 'noop_parts.py'}:OneEach",
                        "partition": "iid",
                        "normalize": False,
                    },
                    "model": {"use": "mlp", "hidden": [312, 4]},
                    "clients": {"count": CLIENTS},
                    "local": {"use": f"{HERE / 'noop_parts.py'}:Noop"},
                    "strategy": "fedavg",
                    "compute": {"backend": "ray", "workers": 2},
                }
            )
        )
        run = Path(folder) / "run"
        command = [sys.executable, "-m", "fedsim", "-q", "run", str(scenario), "--run-dir", run]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        lines = (run / "rounds.jsonl").read_text().splitlines()
        return [json.loads(line)["seconds"] for line in lines][1:]


FLOWER = """
import json, sys, time
import numpy as np
import fedsim
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from flwr.simulation import run_simulation

client, server = ClientApp(), ServerApp()
shapes = [(312, 312), (312,), (312, 4), (4,), (4, 2), (2,)]

@client.train()
def train(message, context):
    arrays = ArrayRecord([np.zeros(shape, np.float32) for shape in shapes])
    metrics = MetricRecord({"num-examples": 1})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

@server.main()
def main(grid, context):
    content = RecordDict({"arrays": ArrayRecord([np.zeros(s, np.float32) for s in shapes])})
    seconds = []
    while len(nodes := list(grid.get_node_ids())) < 1000:
        time.sleep(0.1)
    for number in range(int(sys.argv[1])):
        start = time.perf_counter()
        sent = [Message(content, node, "train", group_id=str(number)) for node in nodes]
        replies = list(grid.send_and_receive(sent))
        total = None
        for reply in replies:
            arrays = reply.content["arrays"].to_numpy_ndarrays()
            total = arrays if total is None else [a + b for a, b in zip(total, arrays)]
        seconds.append(time.perf_counter() - start)
    print("SECONDS", json.dumps(seconds[1:]), flush=True)

run_simulation(server, client, 1000, backend_config={
    "client_resources": {"num_cpus": 1, "num_gpus": 0.0}, "init_args": {"num_cpus": 2}})
"""


def flower(rounds: int) -> list[float]:
    """Return the seconds of each round but the first, which holds the start of its actors."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FLOWER, str(rounds)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("SECONDS"))
    return json.loads(line.removeprefix("SECONDS "))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4, help="rounds per run, the first unused")
    parser.add_argument("--repeats", type=int, default=3, help="how often both are run, in turns")
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {"fedsim": [], "flower": []}
    for number in range(options.repeats):
        for name, measure in (("fedsim", ours), ("flower", flower)):
            seconds[name] += measure(options.rounds)
            rates = " ".join(f"{CLIENTS / value:.0f}" for value in seconds[name])
            print(f"{number + 1}/{options.repeats} {name}: clients per second {rates}", flush=True)
    rate = {name: CLIENTS / statistics.median(values) for name, values in seconds.items()}
    for name, values in seconds.items():
        low, high = CLIENTS / max(values), CLIENTS / min(values)
        milliseconds = 1000 / rate[name]
        print(
            f"{name:7} {rate[name]:7.0f} clients/s ({low:.0f}-{high:.0f}), "
            f"{milliseconds:.2f} ms each"
        )
    print(f"ratio   {rate['fedsim'] / rate['flower']:.1f}")


if __name__ == "__main__":
    main()
