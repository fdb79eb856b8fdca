"""JDME's moments under privacy: bounded, noisy, possible, charged."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from fedsim.adapt.joint_matching import Moments, moments_of, unit_rows
from fedsim.adapt.sensitivity import UNIT_MOMENTS
from fedsim.client import Examples, Unlabelled
from fedsim.clients import private_moments
from fedsim.clients.private_moments import PrivateMoments
from fedsim.errors import ScenarioError
from fedsim.models.projected import Projected
from fedsim.privacy.accountant import Release
from fedsim.privacy.ledger import PrivacyLedger
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Role, Weights

WIDTH, CLASSES = 5, 3
LOCAL = {"use": "private_moments"}
MOMENT = {"use": "jdme", "final_head": "moment"}
PROJECTED = {"use": "projected", "dimensions": 8}
PRIVACY = {"unit": "record", "clip": 1.0, "delta": 1e-5, "rng": "simulation"}


def sent(held: Examples | Unlabelled, noise: float, number: int = 1) -> Weights:
    """Return what a client with these examples answers."""
    model = Projected((WIDTH,), CLASSES, dimensions=2)
    role: Role = "source" if isinstance(held, Examples) else "target"
    info = ClientInfo(0, len(held), "a", role)
    raw = {"raw.weight": torch.eye(CLASSES, WIDTH), "raw.bias": torch.zeros(CLASSES)}
    instruction = Instruction(number, role, info, Broadcast({}, {"raw": raw}))
    half = PrivateMoments().under(PrivacyParameters(1.0, noise, "simulation"))
    verb = half.source if role == "source" else half.label
    update = verb(model, held, instruction, torch_stream(2, "client"))  # type: ignore[arg-type]
    assert (update.examples, update.metrics) == (min(1, len(held)), {})
    return update.extras["moments"]


def examples(count: int = 40) -> Examples:
    inputs = torch.randn(count, WIDTH, generator=torch_stream(1, "rows"))
    return Examples(inputs, torch.arange(count) % CLASSES)


def test_without_noise_they_are_the_plain_moments() -> None:
    held, found = examples(), sent(examples(), 1e-9)
    plain = moments_of(unit_rows(held.inputs.double()), held.labels, CLASSES).packed()
    for name in plain:
        assert torch.allclose(found[name], plain[name], atol=1e-6)


def test_a_target_sends_those_of_the_classes_that_it_guesses() -> None:
    held = examples()
    rows = unit_rows(held.inputs.double())
    plain = moments_of(rows, rows[:, :CLASSES].argmax(dim=1), CLASSES).packed()
    found = sent(Unlabelled(held.inputs), 1e-9, number=7)
    assert torch.allclose(found["squares"], plain["squares"], atol=1e-6)
    assert sent(held, 1e-9, number=7) == {}  # sources are done after the first round


SCALES = [0.0, 1e-30, 1.0, 1e4, 1e18, 1e38, math.nan, math.inf, -math.inf]


def test_no_hostile_example_moves_the_sums_further_than_their_sensitivity(monkeypatch) -> None:
    monkeypatch.setattr(private_moments, "_possible", lambda moments: moments)
    generator, held = torch_stream(4, "hostile"), examples(10)
    before, most = sent(held, 1e-9), 0.0
    for number in range(1000):
        scale = SCALES[number % len(SCALES)]
        bad = scale * torch.randn(1, WIDTH, generator=generator)
        more = Examples(torch.cat([held.inputs, bad]), torch.cat([held.labels, held.labels[:1]]))
        most = max(most, length({name: sent(more, 1e-9)[name] - before[name] for name in before}))
    assert 1.7 < most <= UNIT_MOMENTS * (1 + 1e-9)


def length(parts: Mapping[str, Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts.values()))


def test_what_is_sent_could_be_moments_of_examples() -> None:
    found = Moments.unpacked(sent(examples(), 3.0))
    assert float(found.counts.min()) >= 0
    for squares in found.squares:
        assert float(torch.linalg.eigvalsh(squares).min()) >= -1e-9


def test_noise_is_on_classes_that_a_client_lacks_too() -> None:
    only = Examples(examples().inputs, torch.zeros(40, dtype=torch.int64))
    assert float(sent(only, 1.0)["squares"][1].abs().sum()) > 0
    assert float(sent(examples(0), 1.0)["squares"].abs().sum()) > 0


def test_a_turn_is_one_release() -> None:
    assert PrivateMoments().releases(2.0, 5) == (Release(2.0, 1.0, 5),)


def test_jdme_runs_under_privacy_and_is_charged(two_domains, play) -> None:
    of = two_domains(
        strategy=MOMENT, model=PROJECTED, local=LOCAL, privacy={**PRIVACY, "noise_multiplier": 0.01}
    )
    outcome = play(of)
    assert outcome.result.dropped == 0
    assert outcome.result.accuracy > 0.3
    assert play(of).result.weights_sha256 == outcome.result.weights_sha256
    ledger = PrivacyLedger.read(outcome.folder.path / "privacy.jsonl")
    assert ledger is not None
    assert [charge.clients for charge in ledger.charges] == [(0, 1, 2, 3)] * 2


def test_a_head_that_sources_fit_is_refused(two_domains) -> None:
    with pytest.raises(ScenarioError, match="adds no noise in head"):
        two_domains(
            strategy="jdme",
            model=PROJECTED,
            local=LOCAL,
            privacy={**PRIVACY, "noise_multiplier": 1.0},
        )
