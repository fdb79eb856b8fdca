"""What the mechanism promises, as checks; and fifteen planted bugs that they must catch.

The bugs are those that were found in the wild or are easy to write.  Each is planted by
replacing one function, and the check that is named beside it has to fail.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsim import cohort
from fedsim.aggregate import Sums
from fedsim.privacy import ledger, mechanism
from fedsim.privacy import privacy_engine as guard
from fedsim.privacy import private_strategy as guarded
from fedsim.privacy.mechanism import AdaptiveClip, CentralGaussian, clipped, norm_of
from fedsim.privacy.noise import Rng, SimulatedNoise, grid
from fedsim.privacy.population import Population
from fedsim.privacy.privacy_engine import PrivacyEngine
from fedsim.privacy.privacy_spec import PrivacySpec
from fedsim.privacy.private_strategy import PrivateStrategy
from fedsim.runlog.events import RoundRecord
from fedsim.schema.privacy import Privacy
from fedsim.strategy import ServerState, Strategy
from fedsim.wire import Addend, ClientInfo, Merged, Update, Weights

CLIP = 2.0
LIKE: Weights = {"bias": torch.zeros(()), "weight": torch.zeros(4, 3)}
WIDE: Weights = {"weight": torch.zeros(1_000_000)}


def claim(sampler: cohort.Sampler | None = None, rng: Rng = "simulation") -> PrivacySpec:
    said = Privacy(unit="client", clip=CLIP, noise_multiplier=1.5, delta=1e-4, rng=rng)
    return PrivacySpec(said, Population(30, 7, 5, sampler or cohort.Poisson(), 3))


def strategy() -> PrivateStrategy:
    return PrivateStrategy(Strategy(), claim().mechanism)


def added(updates: list[Update], like: Weights = LIKE) -> Sums:
    """Return the sums of ``updates``, each on the way that a worker's takes."""
    rule, sums = strategy(), Sums()
    told = rule.broadcast(ServerState(like, 30), ClientInfo(0, 5)).settings
    for update in updates:
        try:
            sums.add(update.client, rule.clipped(update, told))
        except ValueError:
            continue  # dropped, as a host drops it
    return sums


def total(sums: Sums) -> Weights:
    names = sums.by_name
    return names["clipped"].total() if "clipped" in names else {}


def moved(update: Update) -> float:
    """Return how far adding one client moves the sum before noise."""
    others = [
        Update(k, {n: torch.full_like(t, 0.1 * k) for n, t in LIKE.items()}, 9) for k in (1, 2)
    ]
    without, with_it = total(added(others)), total(added([*others, update]))
    return norm_of({name: with_it[name] - without[name] for name in without})


# The checks: each holds of the code as it is.


def noise_is_scaled_right() -> None:
    means = (
        claim().mechanism.release(Sums(), WIDE, CLIP, SimulatedNoise.at(1, "check")).delta["weight"]
    )
    wanted = (1.5 * CLIP / 7) ** 2
    assert abs(float(means.var()) / wanted - 1) < 0.0075


def rounds_have_noise_of_their_own(folder: Path) -> None:
    keeper = PrivacyEngine(claim(), folder)
    like = {"weight": torch.zeros(10_000)}
    drawn = [
        keeper.release(Sums(), ServerState(like, 30, round=number), strategy()).delta["weight"]
        for number in (1, 2)
    ]
    assert abs(np.corrcoef(np.stack([one.numpy() for one in drawn]))[0, 1]) < 0.064


def one_client_moves_the_sum_by_the_clip_at_most() -> None:
    for scale in (1e-3, 1.0, 1e3, 1e38):
        delta = {name: torch.full_like(tensor, scale) for name, tensor in LIKE.items()}
        assert moved(Update(0, delta, 5)) <= CLIP * (1 + 1e-9)
    one = {"bias": torch.tensor(CLIP), "weight": torch.full((4, 3), CLIP / math.sqrt(12))}
    assert moved(Update(0, one, 5)) <= CLIP * (1 + 1e-9)


def the_number_of_examples_buys_nothing() -> None:
    delta = {name: torch.ones_like(tensor) for name, tensor in LIKE.items()}
    assert moved(Update(0, delta, 1_000_000)) == moved(Update(0, delta, 1)) <= CLIP


def an_update_that_is_not_finite_moves_nothing() -> None:
    for bad in (math.nan, math.inf, -math.inf):
        delta = {name: torch.ones_like(tensor) for name, tensor in LIKE.items()}
        delta["weight"][0, 0] = bad
        assert moved(Update(0, delta, 5)) == 0.0


def a_replaced_client_moves_the_sum_by_what_is_claimed() -> None:
    fixed = claim(cohort.Uniform())
    ones = {name: torch.full_like(tensor, 9.0) for name, tensor in LIKE.items()}
    here = total(added([Update(0, ones, 1)]))
    there = total(added([Update(0, {name: -tensor for name, tensor in ones.items()}, 1)]))
    far = norm_of({name: here[name] - there[name] for name in here})
    std = fixed.mechanism.delta_multiplier * CLIP
    assert far <= fixed.sensitivity * CLIP
    assert math.isclose(fixed.releases(1)[0].noise_multiplier, std / far, rel_tol=1e-6)


def the_denominator_is_the_expected_cohort() -> None:
    ones = {name: torch.full_like(tensor, 0.1) for name, tensor in LIKE.items()}
    silent = replace(claim().mechanism, noise_multiplier=0.0)
    for many in (1, 3, 9):
        sums = added([Update(k, ones, 1) for k in range(many)])
        mean = silent.release(sums, LIKE, CLIP, SimulatedNoise.at(1, "check")).delta["weight"]
        assert torch.allclose(mean, torch.full((4, 3), 0.1 * many / 7, dtype=torch.float64))


def clients_come_as_often_as_is_claimed() -> None:
    said = claim()
    generator = [len(cohort.Poisson().draw(30, 7, number, 5)) for number in range(4000)]
    error = math.sqrt(30 * said.sample_rate * (1 - said.sample_rate) / 4000)
    assert abs(np.mean(generator) - 30 * said.sample_rate) < 5 * error
    assert math.isclose(said.mechanism.expected, 30 * said.sample_rate)


def a_cohort_of_fixed_size_is_accounted_for_as_such() -> None:
    fixed = claim(cohort.Uniform())
    assert fixed.relation == "replace one client"
    assert fixed.releases(3)[0].sampling == "fixed"


def what_is_released_is_charged(folder: Path) -> None:
    """Release, die, come back, and release again: with other noise, for another charge."""
    released = set()
    like = {"weight": torch.zeros(4)}
    for _ in range(3):
        keeper = PrivacyEngine(claim(rng="secure"), folder)
        state = ServerState(like, 30, round=1)
        keeper.before(1, state)
        released.add(keeper.release(Sums(), state, strategy()).delta["weight"].numpy().tobytes())
    assert len(released) <= len(PrivacyEngine(claim(rng="secure"), folder).ledger.charges)


def clients_metrics_stay_where_they_are(folder: Path) -> None:
    record = RoundRecord(1, {"accuracy": 0.5, "loss": 1.0}, (0,), (), {"loss": 0.3}, {}, 1, 1, 0.1)
    assert PrivacyEngine(claim(), folder).cleaned(record).train == {}


def every_output_is_on_the_grid() -> None:
    for value in (0.0, 1.0):
        wide = {"weight": torch.full((1_000_000,), value * CLIP / 1000)}
        sums = added([Update(0, wide, 1)], WIDE)
        step = claim().mechanism.step(CLIP)
        released = claim().mechanism.release(sums, WIDE, CLIP, SimulatedNoise.at(2, "check")).delta
        cells = released["weight"] * 7 / step
        # The division by 7 is post-processing, and rounds in the last bit.
        assert float((cells - cells.round()).abs().max()) < 1e-6


CHECKS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        noise_is_scaled_right,
        rounds_have_noise_of_their_own,
        one_client_moves_the_sum_by_the_clip_at_most,
        the_number_of_examples_buys_nothing,
        an_update_that_is_not_finite_moves_nothing,
        a_replaced_client_moves_the_sum_by_what_is_claimed,
        the_denominator_is_the_expected_cohort,
        clients_come_as_often_as_is_claimed,
        a_cohort_of_fixed_size_is_accounted_for_as_such,
        what_is_released_is_charged,
        clients_metrics_stay_where_they_are,
        every_output_is_on_the_grid,
    )
}


def run(check: str, folder: Path) -> None:
    wants_folder = CHECKS[check].__code__.co_argcount > 0
    CHECKS[check](*[folder] if wants_folder else [])


@pytest.mark.parametrize("check", CHECKS)
def test_the_promise_holds(check: str, tmp_path: Path) -> None:
    run(check, tmp_path)


# The bugs.


def quieter(share: float) -> Callable[..., Any]:
    real: Callable[..., Any] = vars(mechanism)["gaussian"]
    return lambda like, std, source: real(like, share * std, source)


def unclipped(delta: Weights, bound: float, step: float) -> Weights:
    return {name: tensor.double() for name, tensor in delta.items()}


def clipped_by_layer(delta: Weights, bound: float, step: float) -> Weights:
    return {name: clipped({name: tensor}, bound, step)[name] for name, tensor in delta.items()}


def weighted(
    self: PrivateStrategy, update: Update, told: Mapping[str, Any]
) -> Mapping[str, Addend]:
    step = float(told["privacy-step"])
    return {"clipped": Addend(clipped(update.delta, CLIP, step), update.examples)}


def naive_norm(delta: Weights) -> float:
    return float(torch.stack([tensor.double().norm() for tensor in delta.values()]).norm())


def naive_clip(delta: Weights, bound: float, step: float) -> Weights:
    scale = min(1.0, bound / max(naive_norm(delta), 1e-12))  # min(1, nan) is 1
    return {name: torch.nan_to_num(tensor.double() * scale) for name, tensor in delta.items()}


def by_realised(
    self: CentralGaussian, sums: Sums, like: Weights, clip: float, source: SimulatedNoise
) -> Merged:
    honest = REAL_RELEASE(self, sums, like, clip, source)
    share = self.expected / max(len(sums.clients), 1)
    return replace(honest, means={"delta": {n: t * share for n, t in honest.delta.items()}})


def float32_noise(like: torch.Tensor, std: float, source: SimulatedNoise) -> torch.Tensor:
    words = source.words(like.numel()).astype(np.float64) / 2.0**64
    normal = torch.special.ndtri(torch.from_numpy(words).clamp(1e-12, 1 - 1e-12))
    narrow: torch.Tensor = (normal.float() * std).reshape(like.shape)
    return narrow.double()


REAL_RELEASE = CentralGaussian.release
REAL_OPEN = ledger.PrivacyLedger.open.__func__  # type: ignore[attr-defined]


def unpaid_retry(self: PrivacyEngine, charge: ledger.LedgerCharge) -> None:
    if not self.ledger.of_round(charge.round):
        self.ledger.charge(charge)


def refunding(cls: type, path: Path, promise: Mapping[str, Any]) -> ledger.PrivacyLedger:
    """Take back, on start, a charge whose round did not finish."""
    if path.is_file():
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join(lines[:1]))
    found: ledger.PrivacyLedger = REAL_OPEN(cls, path, promise)
    return found


@dataclass(frozen=True)
class Bug:
    """One thing replaced by another, and the check that has to notice."""

    where: Any
    name: str
    what: Any
    check: str


BUGS = {
    "half the noise": Bug(mechanism, "gaussian", quieter(0.5), "noise_is_scaled_right"),
    "nine tenths of the noise": Bug(mechanism, "gaussian", quieter(0.9), "noise_is_scaled_right"),
    "the same noise each round": Bug(
        PrivacyEngine,
        "_source",
        lambda self, number, attempt: SimulatedNoise.at(3, "privacy"),
        "rounds_have_noise_of_their_own",
    ),
    "no clipping": Bug(
        guarded, "clipped", unclipped, "one_client_moves_the_sum_by_the_clip_at_most"
    ),
    "clipping by layer": Bug(
        guarded, "clipped", clipped_by_layer, "one_client_moves_the_sum_by_the_clip_at_most"
    ),
    "2C forgotten": Bug(
        PrivacySpec,
        "sensitivity",
        property(lambda self: 1.0),
        "a_replaced_client_moves_the_sum_by_what_is_claimed",
    ),
    "the realised denominator": Bug(
        CentralGaussian, "release", by_realised, "the_denominator_is_the_expected_cohort"
    ),
    "int(N * q)": Bug(
        PrivacySpec,
        "sample_rate",
        property(lambda self: int(10 * self.crowd.cohort / self.crowd.population) / 10),
        "clients_come_as_often_as_is_claimed",
    ),
    "weights by examples": Bug(
        PrivateStrategy, "clipped", weighted, "the_number_of_examples_buys_nothing"
    ),
    "fixed cohort, Poisson ledger": Bug(
        PrivacySpec,
        "sampling",
        property(lambda self: "poisson"),
        "a_cohort_of_fixed_size_is_accounted_for_as_such",
    ),
    "no charge on retry": Bug(PrivacyEngine, "_pay", unpaid_retry, "what_is_released_is_charged"),
    "refund on crash": Bug(
        ledger.PrivacyLedger, "open", classmethod(refunding), "what_is_released_is_charged"
    ),
    "metrics unaccounted": Bug(
        PrivacyEngine, "cleaned", lambda self, record: record, "clients_metrics_stay_where_they_are"
    ),
    "float32 noise": Bug(mechanism, "gaussian", float32_noise, "every_output_is_on_the_grid"),
    "NaN": Bug(guarded, "clipped", naive_clip, "an_update_that_is_not_finite_moves_nothing"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_caught(bug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planted = BUGS[bug]
    monkeypatch.setattr(planted.where, planted.name, planted.what)
    with pytest.raises(AssertionError):
        run(planted.check, tmp_path)


def test_there_are_fifteen_of_them() -> None:
    assert len(BUGS) == 15
    assert guard.PrivacyEngine is PrivacyEngine


# Further promises, with no bug of their own.

TENSORS = {
    "float64": torch.float64,
    "float16": torch.float16,
    "float32": torch.float32,
    "int": torch.int64,
    "bool": torch.bool,
}
HOSTILE = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1e38, -1e38, 1e300, 5e-324, 1.0]),
)


@settings(max_examples=1000, deadline=None)
@given(
    st.lists(HOSTILE, min_size=13, max_size=13),
    st.sampled_from(sorted(TENSORS)),
    st.integers(0, 10**9),
)
def test_a_hostile_update_moves_the_sum_by_the_clip_at_most(
    values: list[float], kind: str, examples: int
) -> None:
    flat = torch.tensor(values, dtype=torch.float64)
    if kind in ("int", "bool"):
        flat = torch.nan_to_num(flat).clamp(-(2**62), 2**62)
    flat = flat.to(TENSORS[kind])
    # In the other order of keys than the model's: clipping goes by name.
    delta = {"weight": flat[1:].reshape(4, 3), "bias": flat[0]}
    assert moved(Update(0, delta, examples)) <= CLIP * (1 + 1e-9)


@given(st.floats(1e-6, 1e6), st.floats(1e-3, 1e3), st.integers(1, 50))
def test_what_is_clipped_is_within_the_bound_and_points_the_same_way(
    scale: float, bound: float, size: int
) -> None:
    delta = {"w": scale * torch.arange(1, size + 1, dtype=torch.float64)}
    cut = clipped(delta, bound, grid(bound))
    assert norm_of(cut) <= bound
    assert bool((cut["w"] >= 0).all())
    if norm_of(delta) <= bound / 2:
        assert torch.allclose(cut["w"], delta["w"], atol=2 * grid(bound))


@pytest.mark.parametrize("start", [0.1, 0.9, 1.1, 10.0])
def test_the_adaptive_clip_finds_the_median_norm_from_anywhere(start: float) -> None:
    norms = np.linspace(0.5, 1.5, 101)  # median 1
    clip, rule = start, AdaptiveClip(quantile=0.5, lr=0.2)
    for _ in range(200):
        clip = rule.moved(clip, float((norms <= clip).mean()))
    assert 0.95 <= clip <= 1.05


def test_adaptive_updates_and_bits_together_are_one_release() -> None:
    rule = CentralGaussian(0.5, 40.0, 1.0, AdaptiveClip())
    of_bits = rule.bits_std / 0.5  # a bit is -1/2 or 1/2
    assert math.isclose(rule.delta_multiplier**-2 + of_bits**-2, 0.5**-2)
    assert rule.delta_multiplier > 0.5


def test_the_noisy_share_below_the_clip_is_unbiased() -> None:
    rule = PrivateStrategy(Strategy(), CentralGaussian(0.5, 40.0, 1.0, AdaptiveClip()))
    told = rule.broadcast(ServerState(LIKE, 80), ClientInfo(0, 1)).settings
    sums = Sums()
    for client in range(40):
        large = {name: torch.full_like(t, 5.0 if client < 10 else 0.01) for name, t in LIKE.items()}
        sums.add(client, rule.clipped(Update(client, large, 1), told))
    drawn = [
        float(
            rule.server_side.release(sums, LIKE, 1.0, SimulatedNoise.at(k, "x")).means["below"][
                "below"
            ]
        )
        for k in range(400)
    ]
    assert abs(np.mean(drawn) - 0.75) < 5 * (2 / 40) / math.sqrt(400)


def test_partial_sums_in_any_order_release_the_same_bits() -> None:
    generator = torch.Generator().manual_seed(1)
    updates = [
        Update(k, {n: torch.randn(t.shape, generator=generator) for n, t in LIKE.items()}, 1)
        for k in range(20)
    ]

    def released(parts: list[list[Update]]) -> bytes:
        sums = Sums()
        for part in parts:
            sums.merge(added(part))
        found = claim().mechanism.release(sums, LIKE, CLIP, SimulatedNoise.at(1, "x")).delta
        return found["weight"].numpy().tobytes()

    assert released([updates]) == released([updates[12:], updates[:5], updates[5:12]])


def test_a_strategy_that_is_guarded_is_not_told_what_clients_hold() -> None:
    seen: list[int] = []

    class Curious(Strategy):
        def begin(self, weights: Weights, clients: Any) -> ServerState:
            seen.extend(info.examples for info in clients)
            return super().begin(weights, clients)

    PrivateStrategy(Curious(), claim().mechanism).begin(LIKE, [ClientInfo(0, 17)])
    assert seen == [0]


def test_a_guarded_strategy_cannot_be_used_around_its_mechanism() -> None:
    with pytest.raises(ValueError, match="clipped before"):
        strategy().addends(Update(0, dict(LIKE), 1), ClientInfo(0, 1))
    with pytest.raises(ValueError, match="only the server"):
        PrivateStrategy(Strategy()).broadcast(ServerState(LIKE, 3), ClientInfo(0, 1))
