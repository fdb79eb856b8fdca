"""The loop that anybody would write: one process, one thread, no framework."""

from __future__ import annotations

import argparse
import json
import time

import torch
from speed_parts import bare, tensors
from torch.nn.functional import cross_entropy
from workloads import WORKLOADS, Workload, tree_cpu


def one_round(
    model: torch.nn.Module, work: Workload, data: tuple[torch.Tensor, torch.Tensor], cohort: range
) -> None:
    start = [parameter.detach().clone() for parameter in model.parameters()]
    total = [torch.zeros_like(value) for value in start]
    for client in cohort:
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), start, strict=True):
                parameter.copy_(value)
        inputs, labels = data[0][client], data[1][client]
        for places in torch.randperm(work.examples).split(work.batch):
            for parameter in model.parameters():
                parameter.grad = None
            cross_entropy(model(inputs[places]), labels[places]).backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.sub_(parameter.grad, alpha=work.lr)
        with torch.no_grad():
            for held, parameter, value in zip(total, model.parameters(), start, strict=True):
                held.add_(parameter - value)
    with torch.no_grad():
        for parameter, value, held in zip(model.parameters(), start, total, strict=True):
            parameter.copy_(value + held / len(cohort))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = WORKLOADS[options.workload]
    model, data = bare(work), tensors(work)
    wall, cpu = [], []
    for number in range(options.rounds):
        first = number * work.cohort % work.clients
        start, before = time.perf_counter(), tree_cpu()
        one_round(model, work, data, range(first, first + work.cohort))
        wall.append(time.perf_counter() - start)
        cpu.append(tree_cpu() - before)
    print(json.dumps({"wall": wall[1:], "cpu": cpu[1:]}))


if __name__ == "__main__":
    main()
