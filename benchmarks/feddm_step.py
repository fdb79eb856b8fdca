"""One matching step of a FedDM client, all classes at once, against the loop over classes.

    python benchmarks/feddm_step.py [--repeats 7] [--steps 20] [--device cpu]

The loop is equation 1 as published code has it: a deep copy of the model moved tensor by tensor,
then, for each class by itself, a batch, a forward pass of it and of the synthetic images, and two
norms; its layers are PyTorch's own.  Both are run in turns; the ratio of their times, CPU time
where the CPU computes, is printed with its lowest and highest.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.clients.matching import Matching
from fedsim.models.convnet import ConvNet
from fedsim.wire import Broadcast, ClientInfo, Instruction
from fedsim.worker.allocator import keep_freed_memory


@dataclass(frozen=True)
class Size:
    """A client and what it is asked for."""

    shape: tuple[int, ...]
    depth: int
    width: int
    examples: int
    images: int
    batch: int


SIZES = {
    "digits": Size((1, 8, 8), 2, 16, 144, 5, 64),
    "mnist": Size((1, 28, 28), 3, 32, 1000, 10, 64),
    "cifar10": Size((3, 32, 32), 3, 128, 500, 10, 32),
}


def naive(model: ConvNet, held: Examples, half: Matching, generator: torch.Generator) -> None:
    inputs, each = held.inputs, half.images_per_class
    places = {c: torch.where(held.labels == c)[0] for c in held.labels.unique().tolist()}
    start = torch.cat([inputs[at[torch.randperm(len(at))[:each]]] for at in places.values()])
    images = start.clone().requires_grad_()
    optimiser = torch.optim.SGD([images], half.image_lr, half.image_momentum)
    for _ in range(half.steps):
        moved = copy.deepcopy(model)
        noise = [torch.randn_like(p) for p in moved.parameters()]
        length = torch.sqrt(sum(n.square().sum() for n in noise))
        with torch.no_grad():
            for p, n in zip(moved.parameters(), noise, strict=True):
                p.add_(n * (half.radius / length))
        for p in moved.parameters():
            p.requires_grad_(False)
        loss = torch.zeros((), device=inputs.device)
        for row, at in enumerate(places.values()):
            real = inputs[at[torch.randperm(len(at))[: half.real_batch]]]
            made = images[row * each : (row + 1) * each]
            h_real, h_made = moved.features(real).detach(), moved.features(made)
            z_real, z_made = moved.head(h_real).detach(), moved.head(h_made)
            loss = loss + (h_real.mean(0) - h_made.mean(0)).square().sum()
            loss = loss + (z_real.mean(0) - z_made.mean(0)).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def published(model: ConvNet) -> ConvNet:
    """Return a copy of the model whose pools are PyTorch's."""
    copied = copy.deepcopy(model)
    for place, layer in enumerate(copied.body):
        if isinstance(layer, nn.AvgPool2d):
            copied.body[place] = nn.AvgPool2d(2)
    return copied


def at_once(model: ConvNet, held: Examples, half: Matching, generator: torch.Generator) -> None:
    instruction = Instruction(1, "match", ClientInfo(0, len(held)), Broadcast({}))
    half.match(model, held, instruction, generator)


def seconds(run: Callable[[], None], device: str) -> float:
    clock = time.process_time if device == "cpu" else time.perf_counter
    start = clock()
    run()
    if device != "cpu":
        torch.cuda.synchronize()
    return clock() - start


def measure(name: str, options: argparse.Namespace) -> str:
    size, generator = SIZES[name], torch.Generator().manual_seed(0)
    inputs: Tensor = torch.randn(size.examples, *size.shape, generator=generator)
    held = Examples(
        inputs.to(options.device), (torch.arange(size.examples) % 10).to(options.device)
    )
    half = Matching(size.images, options.steps, size.batch)
    model = ConvNet(size.shape, 10, depth=size.depth, width=size.width).to(options.device).eval()
    models = {"loop": published(model), "at once": model}
    times: dict[str, list[float]] = {"loop": [], "at once": []}
    for number in range(options.repeats + 1):
        for what, run in (("loop", naive), ("at once", at_once)):
            of = models[what]
            spent = seconds(lambda run=run, of=of: run(of, held, half, generator), options.device)
            if number:  # the first turns warm up
                times[what].append(spent / options.steps * 1e3)
    ratios = [a / b for a, b in zip(times["loop"], times["at once"], strict=True)]
    loop, fast = (statistics.median(times[what]) for what in ("loop", "at once"))
    return (
        f"{name:8} loop {loop:7.2f} ms  at once {fast:7.2f} ms  ratio "
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of both, beside a first one")
    parser.add_argument("--steps", type=int, default=20, help="matching steps in a turn")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("sizes", nargs="*", default=["digits", "mnist"], help=", ".join(SIZES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()  # as every worker does
    for name in options.sizes:
        print(measure(name, options), flush=True)


if __name__ == "__main__":
    main()
