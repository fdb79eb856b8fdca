"""Local training alone: client after client, and several in the same steps, on one thread.

    python benchmarks/stacks.py [tiny W1m W1b W1]

CPU milliseconds per client and turn, the best of three, and how many times faster than one by one.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import torch
from speed_parts import Net, tensors
from workloads import WORKLOADS

from fedsim.client import Examples, StackedClient
from fedsim.clients.sgd import Sgd
from fedsim.models._state import load_weights, weights_of
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction
from fedsim.worker.allocator import keep_freed_memory

CLIENTS = 64


def milliseconds(work: Callable[[], object]) -> float:
    """Return the CPU milliseconds of ``work`` per client."""
    work()
    spent = []
    for _ in range(3):
        start = time.process_time()
        work()
        spent.append(time.process_time() - start)
    return 1000 * min(spent) / CLIENTS


def measure(name: str) -> None:
    """Print a line about one workload."""
    work = WORKLOADS[name]
    model = Net((1, work.side, work.side), 10, workload=name)
    rule, weights = Sgd(lr=work.lr, batch_size=work.batch), weights_of(model)
    inputs, labels = tensors(work)
    instruction = Instruction(1, "train", ClientInfo(0, work.examples), Broadcast(weights))
    members = [
        StackedClient(
            Examples(inputs[client], labels[client]), instruction, torch_stream(1, "client", client)
        )
        for client in range(CLIENTS)
    ]

    def loop() -> None:
        for member in members:
            load_weights(model, weights)
            rule.train(model, member.examples, member.instruction, member.generator)

    def stacked(size: int) -> None:
        load_weights(model, weights)
        for start in range(0, CLIENTS, size):
            rule.train_together(model, members[start : start + size])

    alone = milliseconds(loop)
    told = [f"{name:5} alone {alone:7.3f}"]
    for size in (2, 4, 8, 16, 32, 64):
        spent = milliseconds(lambda size=size: stacked(size))
        told.append(f"{size}: {spent:.3f} ({alone / spent:.1f})")
    print("  ".join(told), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker does
    for name in sys.argv[1:] or ("tiny", "W1m", "W1b", "W1"):
        measure(name)


if __name__ == "__main__":
    main()
