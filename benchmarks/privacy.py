"""Privacy at the sizes that the tests are too quick for: noise, sensitivity, audit, budgets.

python benchmarks/privacy.py [variance words hostile audit plans]
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable

import numpy as np
import torch

from fedsim.condense.private_gradients import ImageMechanism, clipped_sum
from fedsim.models.convnet import ConvNet
from fedsim.privacy.accountant import Release, epsilon, gaussian_epsilon
from fedsim.privacy.audit import lower_bound
from fedsim.privacy.calibration import affordable
from fedsim.privacy.noise import NoiseSource, SecureNoise, SimulatedNoise, gaussian
from fedsim.seeds import numpy_stream, torch_stream

__all__ = ["main"]

MANY = 10_000_000
SCALES = [0.0, 1e-30, 1.0, 1e4, 1e18, 1e38, math.nan, math.inf, -math.inf]


def variance() -> str:
    """How far the variance of 10^7 numbers is off; its standard error is 0.045 percent."""
    sources: list[NoiseSource] = [SecureNoise(), SimulatedNoise.at(7, "noise")]
    off = [abs(float(gaussian(torch.zeros(MANY), 1.0, one).var()) - 1) for one in sources]
    return f"variance off by {off[0]:.3%} (secure), {off[1]:.3%} (simulation), of {MANY:,} numbers"


def words() -> str:
    """How many 64-bit words come twice: of one source, and over 100 streams; and correlation."""
    streams = [SimulatedNoise.at(7, "noise", k).words(MANY // 100) for k in range(100)]
    twice = [
        MANY - len(np.unique(all_)) for all_ in (SecureNoise().words(MANY), np.concatenate(streams))
    ]
    drawn = [
        gaussian(torch.zeros(10_000), 1.0, SimulatedNoise.at(7, "n", k)).numpy() for k in range(100)
    ]
    most = float(np.abs(np.corrcoef(np.stack(drawn)) - np.eye(100)).max())
    return f"words that come twice: {twice[0]} and {twice[1]} of {MANY:,}; largest |r| {most:.4f}"


def hostile(cases: int = 3000) -> str:
    """How far one hostile example moves the sum of clipped pixel gradients, over the clip."""
    generator, mechanism = torch_stream(9, "hostile"), ImageMechanism(0.3, 1.0, 0.3)
    model = ConvNet((1, 8, 8), 10, depth=2, width=4).eval()
    images = torch.randn(3, 4, 1, 8, 8, generator=generator)
    held, owner = torch.randn(9, 1, 8, 8, generator=generator), torch.arange(9) % 3
    total, most = clipped_sum(model, images, held, owner, mechanism), 0.0
    for number in range(cases // 3):
        # One for each class: they touch different images, so each is a neighbour by itself.
        scales = torch.tensor([SCALES[(number + k) % len(SCALES)] for k in range(3)])
        bad = torch.randn(3, 1, 8, 8, generator=generator) * scales.reshape(3, 1, 1, 1)
        inputs, owners = torch.cat([held, bad]), torch.cat([owner, torch.arange(3)])
        moved = clipped_sum(model, images, inputs, owners, mechanism) - total
        most = max(most, float(moved.flatten(1).norm(dim=1).max()) / mechanism.clip)
    return f"{cases:,} hostile examples move the sum by at most {most:.12f} clips"


def audit() -> str:
    """What the one-run audit finds on the plain Gaussian, 10^4 canaries in and as many out."""
    told = []
    for noise in (0.5, 1.0, 2.0, 5.0):
        claimed = gaussian_epsilon(1 / noise, 1e-5)
        bounds = []
        for seed in range(10):
            coins = numpy_stream(seed, "audit")
            is_in = coins.permutation(20_000) < 10_000
            scores = is_in + noise * coins.standard_normal(20_000)
            bounds.append(lower_bound(scores, is_in, 1e-5))
        above = sum(bound > claimed for bound in bounds)
        told.append(f"{claimed:.2f}: {np.mean(bounds):.2f} ({max(bounds):.2f}), {above} above")
    return "audit, epsilon: mean lower bound (largest) of 10 runs: " + "; ".join(told)


def plans(count: int = 200) -> str:
    """How many of random plans are stopped too late, or too early."""
    generator, wrong = numpy_stream(3, "plans"), 0
    for _ in range(count):
        noise, rate = generator.uniform(0.6, 8), float(generator.choice([0.01, 0.05, 0.2, 1.0]))
        limit, most = generator.uniform(0.5, 20), int(generator.integers(1, 400))
        steps = int(generator.integers(1, 30))

        def cost(turns: int, n: float = noise, q: float = rate, s: int = steps) -> float:
            return epsilon([Release(n, q, s * turns)], 1e-5, "rdp")

        turns = affordable(limit, cost, most)
        wrong += turns > 0 and cost(turns) > limit
        wrong += turns < most and cost(turns + 1) <= limit
    return f"{wrong} of {count} random plans stop too late or too early"


MEASURES: dict[str, Callable[[], str]] = {
    one.__name__: one for one in (variance, words, hostile, audit, plans)
}


def main() -> None:
    """Print one line per measure."""
    torch.set_num_threads(1)
    for name in sys.argv[1:] or MEASURES:
        start = time.perf_counter()
        print(f"{MEASURES[name]()}  [{time.perf_counter() - start:.0f} s]", flush=True)


if __name__ == "__main__":
    main()
