"""What the ledger and the budget cost per round, at 10,000 rounds.

Run with: python benchmarks/ledger.py
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from fedsim.aggregate import Sums
from fedsim.cohort import Poisson
from fedsim.privacy.ledger import PrivacyLedger
from fedsim.privacy.noise import SecureNoise, gaussian
from fedsim.privacy.population import Population
from fedsim.privacy.privacy_engine import PrivacyEngine
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.privacy.private_strategy import PrivateStrategy
from fedsim.schema.privacy import Budget, Privacy
from fedsim.strategy import ServerState, Strategy

__all__ = ["main"]

ROUNDS = 10_000


def timed(work: Callable[[], object]) -> float:
    """Return the milliseconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Print one line per figure."""
    said = Privacy(
        unit="client",
        clip=1.0,
        noise_multiplier=1.0,
        delta=1e-5,
        budget=Budget(epsilon=8.0),
        rng="simulation",
    )
    claim = PrivacySpec(said, Population(1000, 10, ROUNDS, Poisson(), 1))
    rule = PrivateStrategy(Strategy(), claim.mechanism)
    with tempfile.TemporaryDirectory() as folder:
        opening = timed(lambda: PrivacyEngine(claim, Path(folder)))
        print(f"opening, once a run:             {opening:9.1f} ms")
        keeper = PrivacyEngine(claim, Path(folder))
        checks, charges = [], []
        for number in range(1, ROUNDS + 1):
            state = ServerState({"w": torch.zeros(1)}, 1000, round=number)
            checks.append(timed(lambda n=number, s=state: keeper.before(n, s)))
            charges.append(timed(lambda s=state: keeper.release(Sums(), s, rule)))
        print(f"budget check per round, median:  {statistics.median(checks):9.4f} ms")
        print(f"budget check per round, worst:   {max(checks):9.4f} ms")
        print(f"charge and release, median:      {statistics.median(charges):9.3f} ms")
        last = statistics.median(charges[-500:])
        print(f"the same, last 500 rounds:       {last:9.3f} ms")
        path = Path(folder, "privacy.jsonl")
        read = timed(lambda: PrivacyLedger.read(path))
        print(f"verifying {ROUNDS} lines:          {read:9.1f} ms, {path.stat().st_size:,} bytes")
    for turns in (100, 1000, ROUNDS):
        print(f"epsilon after {turns:6} rounds:     {claim.epsilon(turns):9.4f} (PLD)")
    noise = timed(lambda: gaussian(torch.zeros(1_000_000), 1.0, SecureNoise()))
    print(f"secure noise, 10^6 numbers:      {noise:9.1f} ms")


if __name__ == "__main__":
    main()
