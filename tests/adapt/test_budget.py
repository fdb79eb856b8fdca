"""What each exchange sends up, value by value: nothing grows with a client's examples."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from fedsim.client import Examples, Unlabelled
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.plugins.registry import find
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies.dann import Dann
from fedsim.strategies.iwdan import Iwdan
from fedsim.strategy import Server
from fedsim.wire import ClientInfo, Instruction, Update
from tests.summed import summed

CLASSES, WIDTH, HIDDEN, FREQUENCIES = 3, 6, 5, 4
MODEL = 4 * WIDTH + WIDTH + WIDTH * CLASSES + CLASSES
ADVERSARY = WIDTH * HIDDEN + HIDDEN + HIDDEN * HIDDEN + HIDDEN + HIDDEN + 1
WIDE = ADVERSARY + (CLASSES - 1) * WIDTH * HIDDEN

BUDGET: dict[str, tuple[dict[str, Any], dict[str, tuple[int, int]]]] = {
    "dann": (
        {"hidden": HIDDEN},
        {"adversary": (ADVERSARY, ADVERSARY), "train": (MODEL, MODEL)},
    ),
    "cdan": ({"hidden": HIDDEN}, {"adversary": (WIDE, WIDE), "train": (MODEL, MODEL)}),
    "iwdan": (
        {"hidden": HIDDEN, "form": "exact"},
        {
            "gls": (CLASSES * CLASSES, CLASSES),
            "gradient": (MODEL + ADVERSARY, MODEL + ADVERSARY),
        },
    ),
    "iwcdan": (
        {"hidden": HIDDEN, "form": "fedmm"},
        {"gls": (CLASSES * CLASSES, CLASSES), "primal_dual": (MODEL + WIDE, MODEL + WIDE)},
    ),
    "jan": (
        {"features": FREQUENCIES, "warm_up": 0},
        {
            "spread": (WIDTH + 2, WIDTH + 2),
            "embedding": (10 * FREQUENCIES, 10 * FREQUENCIES),
            "train": (MODEL, MODEL),
        },
    ),
    "dmpn": (
        {"prototypes": "means", "prototype_std": 1.0, "threshold": 0.0},
        {
            "prototypes": (CLASSES * (WIDTH + 1), CLASSES * (WIDTH + 1)),
            "train": (MODEL, MODEL),
        },
    ),
}
"""Parameters of a strategy, and how many values a source and a target send in each phase."""


@pytest.mark.parametrize("examples", [30, 60])
@pytest.mark.parametrize("name", BUDGET)
def test_an_exchange_sends_what_its_budget_allows(name: str, examples: int) -> None:
    parameters, budget = BUDGET[name]
    rule = find("strategy", name)(**parameters)
    infos = [ClientInfo(0, examples, "a"), ClientInfo(1, examples, "b", "target")]
    with torch_defaults(0, "model"):
        model = MLP((4,), CLASSES, hidden=(WIDTH,))
    state = rule.begin(weights_of(model), infos)
    half = find("client", rule.client)()
    for phase in rule.phases():
        state, updates = replace(state, round=9, phase=phase), []
        for info in infos:
            load_weights(model, state.weights)
            instruction = Instruction(9, phase, info, rule.broadcast(state, info))
            generator = torch_stream(1, "c", info.id)
            updates.append(
                getattr(half, phase)(model.train(), held_by(info), instruction, generator)
            )
        assert tuple(values(update) for update in updates) == budget[phase], phase
        state = rule.step(
            state, summed(rule, updates, infos), Server(model, torch_stream(0, "server"))
        )


def held_by(info: ClientInfo) -> Examples | Unlabelled:
    inputs = torch.randn(info.examples, 4, generator=torch_stream(info.id, "held"))
    labels = torch.arange(info.examples) % CLASSES
    return Examples(inputs, labels) if info.role == "source" else Unlabelled(inputs)


def values(update: Update) -> int:
    parts = [update.delta, *update.extras.values()]
    return sum(tensor.numel() for part in parts for tensor in part.values())


def test_what_a_source_is_told_of_the_ratios_is_two_vectors() -> None:
    with torch_defaults(0, "model"):
        weights = weights_of(MLP((4,), CLASSES, hidden=(WIDTH,)))
    infos = [ClientInfo(0, 30, "a"), ClientInfo(1, 30, "b", "target")]
    plain, told = (
        rule.broadcast(replace(rule.begin(weights, infos), phase="train", memory=memory), infos[0])
        for rule, memory in (
            (Dann(), Dann().begin(weights, infos).memory),
            (Iwdan(), {**Iwdan().begin(weights, infos).memory, **ratios()}),
        )
    )
    extra = set(told.extras) - set(plain.extras)
    assert extra == {"ratios"}
    assert sum(vector.numel() for vector in told.extras["ratios"].values()) == 2 * CLASSES


def ratios() -> dict[str, dict[str, torch.Tensor]]:
    law = torch.full((CLASSES,), 10.0, dtype=torch.float64)
    return {"counts": {"a": law}, "seen": {"b": torch.tensor(30.0)}, "ratios": {"a>b": law / 10}}
