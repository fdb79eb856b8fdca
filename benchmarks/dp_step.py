"""One client's round of DP-SGD against opacus, in CPU time, in turns.

    python benchmarks/dp_step.py [--repeats 9] [W1 W1b]

Both take five Poisson batches of ten out of fifty examples and clip every example's own gradient.
Opacus is run in each of its exact modes, with noise that is not secure, which is its default, and
with everything that can be kept between clients kept: model, optimiser and loader are made
once.  Compared is its fastest mode.  fedsim is given the noise of both its sources, and trains
clients one by one and 16 together.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from opacus import PrivacyEngine
from speed_parts import Net, bare, tensors
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from workloads import WORKLOADS, Workload

from fedsim.client import Examples, StackedClient
from fedsim.clients.dp_sgd import DpSgd
from fedsim.models._state import load_weights, weights_of
from fedsim.privacy.noise import Rng
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction
from fedsim.worker.allocator import keep_freed_memory

CLIP, NOISE = 0.5, 1.0
CLIENTS, TOGETHER = 5, 16
"""In one turn of a system, one after the other, and all at once."""
RNGS: tuple[Rng, ...] = ("simulation", "secure")
MODES = ("hooks", "ew", "functorch", "ghost")


def of_fedsim(name: str, rng: Rng, together: int = 1) -> Callable[[], None]:
    """Return the rounds of ``together`` clients as a worker runs them."""
    work = WORKLOADS[name]
    model = Net((1, work.side, work.side), 10, workload=name)
    held, weights = [Examples(*two) for two in zip(*tensors(work), strict=True)], weights_of(model)
    steps, rate = work.examples // work.batch, work.batch / work.examples
    rule = DpSgd(work.lr, steps, rate, work.batch).under(PrivacyParameters(CLIP, NOISE, rng))
    numbers = itertools.count()

    def member() -> StackedClient:
        client = next(numbers) % work.clients
        instruction = Instruction(1, "train", ClientInfo(client, work.examples), Broadcast(weights))
        return StackedClient(held[client], instruction, torch_stream(1, "client", client))

    def turn() -> None:
        load_weights(model, weights)
        if together > 1:
            rule.train_together(model, [member() for _ in range(together)])
        else:
            one = member()
            rule.train(model, one.examples, one.instruction, one.generator)

    return turn


def of_opacus(work: Workload, mode: str) -> Callable[[], None]:
    """Return an epoch of opacus."""
    inputs, labels = tensors(work)
    model, criterion = bare(work), nn.CrossEntropyLoss()
    made = PrivacyEngine(accountant="rdp").make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), work.lr),
        data_loader=DataLoader(TensorDataset(inputs[0], labels[0]), work.batch),
        criterion=criterion,
        noise_multiplier=NOISE,
        max_grad_norm=CLIP,
        grad_sample_mode=mode,
    )
    module, optimiser, loader = made[0], made[1], made[-1]
    if len(made) == 4:  # ghost clipping has a loss of its own
        criterion = made[2]

    def turn() -> None:
        for batch, truth in loader:
            optimiser.zero_grad()
            criterion(module(batch), truth).backward()
            optimiser.step()

    return turn


def measure(name: str, repeats: int) -> None:
    """Print a table about one workload."""
    turns = {f"opacus {mode}": of_opacus(WORKLOADS[name], mode) for mode in MODES}
    stacks: dict[str, Callable[[], None]] = {}
    for rng in RNGS:
        turns[f"fedsim {rng}"] = of_fedsim(name, rng)
        stacks[f"{TOGETHER} together {rng}"] = of_fedsim(name, rng, TOGETHER)
    turns |= stacks
    spent: dict[str, list[float]] = {what: [] for what in turns}
    for number in range(repeats + 1):
        for what, turn in turns.items():
            calls, clients = (1, TOGETHER) if what in stacks else (CLIENTS, CLIENTS)
            start = time.process_time()
            for _ in range(calls):
                turn()
            if number:  # the first turns warm up
                spent[what].append(1000 * (time.process_time() - start) / clients)
    middle = {what: statistics.median(times) for what, times in spent.items()}
    fastest = min((what for what in turns if what.startswith("opacus")), key=middle.__getitem__)
    for what, times in spent.items():
        ratios = [a / b for a, b in zip(spent[fastest], times, strict=True)]
        ratio = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
        mine = f"{name:4} {what:22} {middle[what]:6.1f} ms ({min(times):.1f}-{max(times):.1f})"
        print(f"{mine}  {ratio} times {fastest}", flush=True)


def main() -> None:
    """Measure the workloads that are named, or W1 and W1b."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="turns of each that count")
    parser.add_argument("workloads", nargs="*", default=["W1", "W1b"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker does
    warnings.simplefilter("ignore")  # opacus warns of its own hooks and of insecure noise
    for name in options.workloads:
        measure(name, options.repeats)


if __name__ == "__main__":
    main()
