"""The loop that anybody would write, in one process or in a few Ray actors; one thread each."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import torch
from speed_parts import bare, tensors
from torch.nn.functional import cross_entropy
from workloads import WORKLOADS, tree_cpu

Tensors = list[torch.Tensor]
Crew = Callable[[Tensors, range], Sequence[Tensors]]
"""What several workers' sums are, of a model's weights and a cohort."""


class Worker:
    """Trains some of a round's clients, one after the other."""

    def __init__(self, workload: str) -> None:
        torch.set_num_threads(1)
        self.work = WORKLOADS[workload]
        self.model, self.data = bare(self.work), tensors(self.work)

    def summed(self, start: Tensors, cohort: range) -> Tensors:
        """Return the sum of what each client of `cohort` adds to the weights `start`."""
        work, model = self.work, self.model
        total = [torch.zeros_like(value) for value in start]
        for client in cohort:
            with torch.no_grad():
                for parameter, value in zip(model.parameters(), start, strict=True):
                    parameter.copy_(value)
            inputs, labels = self.data[0][client], self.data[1][client]
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
        return total


def crew_of(workload: str, workers: int) -> Crew:
    """Return the worker in this process, or several as Ray actors that share a cohort evenly."""
    if workers == 1:
        worker = Worker(workload)
        return lambda start, cohort: [worker.summed(start, cohort)]

    import ray

    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=workers, **quiet)
    actor = ray.remote(num_cpus=1)(Worker)
    actors = [actor.remote(workload) for _ in range(workers)]

    def sums(start: Tensors, cohort: range) -> Sequence[Tensors]:
        sent, each = ray.put(start), -(-len(cohort) // workers)
        shares = [cohort[at * each : (at + 1) * each] for at in range(workers)]
        return ray.get(
            [actor.summed.remote(sent, share) for actor, share in zip(actors, shares, strict=True)]
        )

    return sums


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    work = WORKLOADS[options.workload]
    sums_of = crew_of(options.workload, options.workers)
    weights = [parameter.detach() for parameter in bare(work).parameters()]
    wall, cpu = [], []
    for number in range(options.rounds):
        first = number * work.cohort % work.clients
        start, before = time.perf_counter(), tree_cpu()
        sums = sums_of(weights, range(first, first + work.cohort))
        weights = [
            value + sum(parts) / work.cohort for value, *parts in zip(weights, *sums, strict=True)
        ]
        wall.append(time.perf_counter() - start)
        cpu.append(tree_cpu() - before)
        print(f"round {number + 1}", flush=True)
    print(json.dumps({"wall": wall[1:], "cpu": cpu[1:]}))


if __name__ == "__main__":
    main()
