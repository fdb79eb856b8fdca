"""DP-SGD on any task: the gradients of its losses, and how far one example moves their sum."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples
from fedsim.errors import ScenarioError
from fedsim.models.mlp import MLP
from fedsim.models.transformer import Transformer
from fedsim.per_sample.batches import in_slots
from fedsim.per_sample.clipped_sums import clipped_sum, per_example, written_sum
from fedsim.per_sample.gradients import WrittenOut
from fedsim.per_sample.row_check import gradients_are_exact
from fedsim.per_sample.stacked_sums import SummedTogether
from fedsim.privacy.mechanism import norm_of
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.task import TargetSpec, Task
from fedsim.tasks.binary import Binary
from fedsim.tasks.multilabel import Multilabel
from fedsim.tasks.next_token import NextToken
from fedsim.tasks.regression import Regression
from fedsim.tasks.survival import Survival
from fedsim.wire import Weights
from tests.conftest import Make, Outcome

CLIP, SHAPE = 0.7, (1, 8, 8)
FLOATS = TargetSpec((), "float32")
Draw = Callable[[int, torch.Generator], Tensor]


def floats(n: int, g: torch.Generator) -> Tensor:
    return torch.randn(n, generator=g)


def pairs(n: int, g: torch.Generator) -> Tensor:
    return torch.stack([10 * torch.rand(n, generator=g), bits(n, g).float()], dim=1)


def bits(n: int, g: torch.Generator) -> Tensor:
    return torch.randint(2, (n,), generator=g)


TASKS: dict[str, tuple[Task, Draw]] = {
    "mse": (Regression(standardise=(1.0, 2.0), targets=FLOATS), floats),
    "huber": (Regression(loss="huber", standardise=False, targets=FLOATS), floats),
    "quantile": (Regression(loss="quantile", standardise=False, targets=FLOATS), floats),
    "binary": (Binary(pos_weight=2.0, targets=TargetSpec(classes=2)), bits),
    "multilabel": (
        Multilabel(targets=TargetSpec((4,), "int64")),
        lambda n, g: torch.randint(2, (n, 4), generator=g),
    ),
    "survival": (Survival(horizon=10.0, targets=TargetSpec((2,), "float32")), pairs),
}


def model_of(task: Task) -> nn.Module:
    with torch_defaults(3, "model"):
        return MLP(SHAPE, task.outputs, hidden=(16, 11))


def examples(task: Task, draw: Draw, count: int) -> Examples:
    generator = torch_stream(5, "examples")
    inputs = torch.randn(count, *SHAPE, generator=generator)
    return Examples(inputs, draw(count, generator), None, task)


def weights_of(model: nn.Module) -> Weights:
    return {name: p.detach() for name, p in model.named_parameters()}


def written(model: nn.Module, task: Task) -> WrittenOut:
    gradients = WrittenOut.of(model, task)
    assert gradients is not None
    return gradients


def alone(model: nn.Module, batch: Examples, at: int) -> Weights:
    """Return one example's gradient, by autograd."""
    trained = dict(model.named_parameters())
    here = slice(at, at + 1)
    loss = batch.task.losses(model(batch.inputs[here]), batch.labels[here])[0].sum()
    return dict(zip(trained, torch.autograd.grad(loss, list(trained.values())), strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_clipped_sums_are_those_of_autograd(name: str) -> None:
    task, draw = TASKS[name]
    model, batch = model_of(task), examples(task, draw, 30)
    slow = {key: torch.zeros_like(w, dtype=torch.float64) for key, w in weights_of(model).items()}
    for at in range(len(batch)):
        gradient = alone(model, batch, at)
        for key in slow:
            slow[key] += gradient[key].double() * min(1.0, CLIP / norm_of(gradient))
    by_formula = written_sum(written(model, task), weights_of(model), batch, CLIP)
    on_grid = clipped_sum(per_example(model, task), weights_of(model), batch, CLIP, 2.0**-25)
    summed = SummedTogether.of(model, task)
    assert not isinstance(summed, str)
    rows = torch.cat([w.flatten() for w in weights_of(model).values()])[None]
    share = torch.ones(1, len(batch), dtype=torch.bool)
    stacked = summed.split(summed(rows, (batch.inputs[None], batch.labels[None], share), CLIP))
    for key, total in slow.items():
        torch.testing.assert_close(by_formula[key], total, rtol=1e-4, atol=3e-5)
        torch.testing.assert_close(on_grid[key], total, rtol=1e-4, atol=3e-5)
        torch.testing.assert_close(stacked[key][0], total, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize("slots", [14, 16, 24])
@pytest.mark.parametrize("name", TASKS)
def test_an_examples_gradient_does_not_depend_on_company_or_place(name: str, slots: int) -> None:
    task, draw = TASKS[name]
    batch, gradients = examples(task, draw, slots), written(model_of(task), task)

    def rows(of: Examples) -> Tensor:
        pieces = gradients(*next(in_slots(of, slots)))
        parts = [part for piece in pieces.values() for part in vars(piece).values()]
        return torch.cat([part for part in parts if isinstance(part, Tensor)], dim=1)

    full = rows(batch)
    for first, last in [(0, 1), (0, 5), (1, 6), (3, slots), (1, slots - 1)]:
        some = Examples(batch.inputs[first:last], batch.labels[first:last], None, task)
        assert torch.equal(rows(some), full[first:last])
    assert gradients_are_exact(model_of(task), SHAPE, task, slots)


@pytest.mark.parametrize("name", TASKS)
def test_a_hostile_example_moves_the_sum_by_the_clip_at_most(name: str) -> None:
    task, draw = TASKS[name]
    generator, most = torch_stream(9, "hostile"), 0.0
    scales = [0.0, 1e-30, 1e-3, 1.0, 1e4, 1e18, 1e30, 3e38, math.nan, math.inf]
    model, batch = model_of(task), examples(task, draw, 23)
    gradients, weights = written(model, task), weights_of(model)
    without = written_sum(gradients, weights, batch, CLIP)
    for number in range(200):
        bad = torch.randn(1, *SHAPE, generator=generator) * scales[number % len(scales)]
        target = draw(1, generator)
        if target.is_floating_point() and number % 4 == 0:
            target = target * scales[(number // 4) % len(scales)]
        at = number % 24
        inputs = torch.cat([batch.inputs[:at], bad, batch.inputs[at:]])
        targets = torch.cat([batch.labels[:at], target, batch.labels[at:]])
        moved = written_sum(gradients, weights, Examples(inputs, targets, None, task), CLIP)
        most = max(most, norm_of({key: moved[key] - without[key] for key in moved}))
    assert 0.99 * CLIP < most <= CLIP * (1 + 1e-9)


def test_a_window_of_text_counts_once_however_long_it_is() -> None:
    task = NextToken(targets=TargetSpec((6,), "int64", classes=9))
    with torch_defaults(3, "model"):
        model = Transformer((6,), 9, width=8, heads=2, layers=1)
    text = torch.randint(9, (5, 7), generator=torch_stream(5, "text"))
    batch = Examples(text[:, :-1], text[:, 1:].clone(), None, task)
    slopes, weights = per_example(model, task), weights_of(model)
    sums = clipped_sum(slopes, weights, batch, CLIP, 2.0**-25)
    less = Examples(batch.inputs[1:], batch.labels[1:], None, task)
    without = clipped_sum(slopes, weights, less, CLIP, 2.0**-25)
    assert norm_of({k: sums[k] - without[k] for k in sums}) <= CLIP
    assert gradients_are_exact(model, (6,), task, 16) in (True, False)  # it runs on tokens


PRIVATE: dict[str, Any] = {
    "task": {"use": "regression", "standardise": [152.0, 77.0]},
    "data": {"source": "diabetes"},
    "clients": {"count": 4},
    "local": {"use": "dp_sgd", "lr": 0.1, "steps": 20, "sample_rate": 0.2, "batch_size": 16},
    "privacy": {
        "unit": "record", "clip": 1.0, "noise_multiplier": 0.6, "delta": 1e-3, "rng": "simulation",
    },
}  # fmt: skip


def test_a_private_regression_beats_its_baseline(
    scenario: Make, play: Callable[..., Outcome]
) -> None:
    outcome = play(scenario(**PRIVATE, model={"use": "mlp", "hidden": []}, rounds=5))
    assert outcome.result.dropped == 0
    assert outcome.result.metrics["rmse"] < 70  # the mean of all gives about 77
    together = scenario(
        **PRIVATE,
        model={"use": "mlp", "hidden": []},
        rounds=5,
        compute={"backend": "local", "cohort": 4},
    )
    stacked = play(together).result.metrics["rmse"]
    assert stacked == pytest.approx(outcome.result.metrics["rmse"], rel=1e-3)


@pytest.mark.parametrize(
    ("task", "key"),
    [
        ("regression", "task"),
        ({"use": "regression", "loss": "huber"}, "task"),
        ({"use": "classification", "class_weights": "balanced"}, "task.class_weights"),
    ],
)
def test_constants_of_the_targets_are_not_taken_without_noise(
    task: Any, key: str, scenario: Make
) -> None:
    with pytest.raises(ScenarioError, match="of the clients' targets without noise") as error:
        scenario(**{**PRIVATE, "task": task})
    assert error.value.faults[0].key == key


def test_examples_with_weights_are_refused_under_dp_sgd(
    scenario: Make, play: Callable[..., Outcome], tmp_path: Any
) -> None:
    lines = ["a,b,w,y", *(f"{i},{i % 3},{1 + i % 2},{i % 2}" for i in range(60))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    data = {"source": {"use": "csv", "path": "t.csv", "weight": "w", "label": "y"}}
    of = {**PRIVATE, "task": "classification", "data": data}
    with pytest.raises(Exception, match=r"data.source.weight: .* counts every example the same"):
        play(scenario(**of, model={"use": "mlp", "hidden": []}))
