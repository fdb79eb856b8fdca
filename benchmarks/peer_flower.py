"""Flower's own simulation engine on a speed workload, written as its tutorials have it."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from workloads import WORKLOADS, tree_cpu

import fedsim  # noqa: F401  # as a first import it keeps Flower and Ray from calling home

client, server = ClientApp(), ServerApp()


@client.train()
def train(message: Message, context: Context) -> Message:
    import torch
    from speed_parts import held
    from torch.nn.functional import cross_entropy

    name = str(message.content["config"]["workload"])
    work, (model, data) = WORKLOADS[name], held(name)
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=work.lr)
    at = int(context.node_config["partition-id"])
    inputs, labels = data[0][at], data[1][at]
    for places in torch.randperm(work.examples).split(work.batch):
        optimiser.zero_grad()
        cross_entropy(model(inputs[places]), labels[places]).backward()
        optimiser.step()
    metrics = MetricRecord({"num-examples": work.examples})
    content = RecordDict({"arrays": ArrayRecord(model.state_dict()), "metrics": metrics})
    return Message(content, reply_to=message)


@server.main()
def main(grid: Grid, context: Context) -> None:
    from flwr.app import ConfigRecord
    from speed_parts import bare

    name, rounds = options.workload, options.rounds
    work = WORKLOADS[name]
    arrays = ArrayRecord(bare(work).state_dict())
    while len(nodes := sorted(grid.get_node_ids())) < work.clients:
        time.sleep(0.1)
    wall, cpu = [], []
    for number in range(rounds):
        start, before = time.perf_counter(), tree_cpu()
        first = number * work.cohort % work.clients
        content = RecordDict({"arrays": arrays, "config": ConfigRecord({"workload": name})})
        asked = nodes[first : first + work.cohort]
        sent = [Message(content, node, "train", group_id=str(number)) for node in asked]
        total: dict[str, Any] = {}
        for reply in grid.send_and_receive(sent):
            for key, value in reply.content["arrays"].to_torch_state_dict().items():
                total[key] = total[key] + value if key in total else value
        arrays = ArrayRecord({key: value / work.cohort for key, value in total.items()})
        wall.append(time.perf_counter() - start)
        cpu.append(tree_cpu() - before)
        print(f"round {number + 1}", flush=True)
    print(json.dumps({"wall": wall[1:], "cpu": cpu[1:]}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    run_simulation(
        server,
        client,
        WORKLOADS[options.workload].clients,
        backend_config={
            "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
            "init_args": {"num_cpus": 2},
        },
    )
