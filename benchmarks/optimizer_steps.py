"""Microseconds of one step: the optimisers by hand beside those of ``torch.optim``.

    python benchmarks/optimizer_steps.py

The weights are those of an MLP 784-100-10; of 60 repetitions of 20 steps, on one thread, the
fastest counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from fedsim.optimizers.optimizer import Optimizer
from fedsim.optimizers.update_rules import SGD, Adagrad, Adam, Adamw, Rmsprop

SHAPES = {"a": (100, 784), "b": (100,), "c": (10, 100), "d": (10,)}
REPETITIONS, STEPS = 60, 20
PAIRS: dict[str, tuple[Optimizer, Callable[..., torch.optim.Optimizer]]] = {
    "sgd": (SGD(0.01), lambda p: torch.optim.SGD(p, 0.01)),
    "sgd, momentum": (SGD(0.01, 0.9), lambda p: torch.optim.SGD(p, 0.01, momentum=0.9)),
    "adam": (Adam(), torch.optim.Adam),
    "adamw": (Adamw(), torch.optim.AdamW),
    "rmsprop": (Rmsprop(), torch.optim.RMSprop),
    "adagrad": (Adagrad(), torch.optim.Adagrad),
}


def lowest(step: Callable[[int], object]) -> float:
    """Return the lowest mean time of a step, in microseconds."""
    times = []
    for _ in range(REPETITIONS):
        start = time.perf_counter()
        for number in range(1, STEPS + 1):
            step(number)
        times.append(time.perf_counter() - start)
    return 1e6 * min(times) / STEPS


def compare(ours: Optimizer, theirs: Callable[..., torch.optim.Optimizer]) -> tuple[float, float]:
    """Return the microseconds of a step by hand, and of torch's."""
    weights = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    slopes = {name: torch.full(shape, 0.01) for name, shape in SHAPES.items()}
    slots = ours.slots(weights)
    parameters = [torch.nn.Parameter(weight.clone()) for weight in weights.values()]
    for parameter, slope in zip(parameters, slopes.values(), strict=True):
        parameter.grad = slope.clone()
    peer = theirs(parameters)
    by_hand = lowest(lambda number: ours.step(weights, dict(slopes), slots, ours.lr, number))
    return by_hand, lowest(lambda number: peer.step())


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("| optimizer | by hand | torch.optim | ratio |\n|---|---|---|---|")
    for name, pair in PAIRS.items():
        by_hand, of_torch = compare(*pair)
        print(f"| {name} | {by_hand:.0f} | {of_torch:.0f} | {by_hand / of_torch:.2f} |")
