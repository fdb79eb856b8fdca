"""What a task says of losses, and what training by it comes to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedsim.client import Examples
from fedsim.clients.sgd import Sgd
from fedsim.data.sources.diabetes import Diabetes
from fedsim.data.target_spec import target_spec
from fedsim.models._state import weights_of
from fedsim.task import TargetSpec, Task
from fedsim.tasks._measures import Measures
from fedsim.tasks.binary import Binary
from fedsim.tasks.classification import Classification
from fedsim.tasks.multilabel import Multilabel
from fedsim.tasks.next_token import NextToken
from fedsim.tasks.regression import Regression
from fedsim.tasks.segmentation import Segmentation
from fedsim.tasks.survival import Survival
from fedsim.wire import Broadcast, ClientInfo, Instruction

TWO = TargetSpec((2,), "float32", centre=(1.0, -2.0), spread=(2.0, 0.5))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=generator(), dtype=torch.float64)


def integers(high: int, *shape: int) -> torch.Tensor:
    return torch.randint(high, shape, generator=generator())


CASES: dict[str, tuple[Task, torch.Tensor, torch.Tensor]] = {
    "classification": (
        Classification(targets=TargetSpec(classes=3)),
        normal(12, 3),
        integers(3, 12),
    ),
    "weighted classes": (
        Classification((1.0, 2.0, 5.0), targets=TargetSpec(classes=3)),
        normal(12, 3),
        integers(3, 12),
    ),
    "focal": (
        Classification(focal=2.0, smoothing=0.1, targets=TargetSpec(classes=3)),
        normal(12, 3),
        integers(3, 12),
    ),
    "binary": (Binary(3.0, targets=TargetSpec(classes=2)), normal(12, 1), integers(2, 12)),
    "multilabel": (Multilabel(targets=TargetSpec((4,), "bool")), normal(12, 4), integers(2, 12, 4)),
    **{
        loss: (Regression(loss, targets=TWO), normal(12, 2), normal(12, 2).float())
        for loss in ("mse", "huber", "mae")
    },
    "quantile": (Regression("quantile", targets=TWO), normal(12, 6), normal(12, 2).float()),
    "poisson": (Regression("poisson", targets=TWO), normal(12, 2), integers(9, 12, 2).float()),
    "next_token": (
        NextToken(targets=TargetSpec((5,), classes=7)),
        normal(12, 5, 7),
        integers(8, 12, 5) - 1,
    ),
    "segmentation": (
        Segmentation("both", targets=TargetSpec((4, 4), classes=3)),
        normal(12, 3, 4, 4),
        integers(3, 12, 4, 4),
    ),
    "survival": (
        Survival(8.0, 4, targets=TargetSpec((2,), "float32")),
        normal(12, 4),
        torch.stack([integers(10, 12).float(), integers(2, 12).float()], dim=1),
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Task, torch.Tensor, torch.Tensor]:
    return CASES[request.param]


def test_parts_of_a_batch_add_up_to_its_loss(case) -> None:
    task, outputs, targets = case
    losses, units = torch.zeros(()), torch.zeros(())
    for rows in (slice(0, 3), slice(3, 4), slice(4, 12)):
        some, counted = task.losses(outputs[rows], targets[rows])
        losses, units = losses + some.sum(), units + counted.sum()
    assert task.batch_loss(outputs, targets).item() == pytest.approx((losses / units).item())


def test_an_example_of_weight_zero_is_as_one_that_is_absent(case) -> None:
    task, outputs, targets = case
    weights = torch.ones(12, dtype=torch.float64)
    weights[5] = 0.0
    rest = torch.arange(12) != 5
    value = task.batch_loss(outputs, targets, weights)
    assert value.item() == pytest.approx(task.batch_loss(outputs[rest], targets[rest]).item())


def test_the_error_is_the_slope_of_the_losses(case) -> None:
    task, outputs, targets = case
    if (error := task.error(outputs, targets)) is None:
        return
    leaf = outputs.clone().requires_grad_()
    task.losses(leaf, targets)[0].sum().backward()
    assert torch.allclose(error, leaf.grad, atol=1e-12)


def test_no_task_takes_the_targets_of_another() -> None:
    floats, masks = TargetSpec(dtype="float32"), TargetSpec((4, 4), classes=3)
    assert "say task: regression" in Classification(targets=floats).refusal()
    assert "(4, 4)" in Classification(targets=masks).refusal()
    assert "multilabel" in Binary(targets=TargetSpec((3,), "bool")).refusal()
    assert "classification" in Binary(targets=TargetSpec(classes=5)).refusal()
    assert "binary" in Multilabel(targets=TargetSpec(classes=2)).refusal()
    assert "(4, 4)" in Regression(targets=masks).refusal()
    assert "(time, event)" in Survival(1.0, targets=floats).refusal()
    assert "mask" in Segmentation(targets=TargetSpec(classes=3)).refusal()
    assert "(length,)" in NextToken(targets=floats).refusal()


def test_balanced_weights_are_scikit_learns() -> None:
    task = Classification("balanced", targets=TargetSpec(classes=3, counts=(10, 30, 60)))
    outputs, targets = normal(9, 3), integers(3, 9)
    weight = torch.tensor([100 / (3 * count) for count in (10, 30, 60)], dtype=torch.float64)
    expected = nn.functional.cross_entropy(outputs, targets, weight=weight)
    assert task.batch_loss(outputs, targets).item() == pytest.approx(expected.item())


def test_values_of_a_regression_are_in_the_targets_units() -> None:
    task = Regression(targets=TWO)
    values = task.predict(torch.zeros(1, 2))["values"]
    assert values.tolist() == [[1.0, -2.0]]
    middle = Regression("quantile", targets=TWO).predict(torch.tensor([[9.0, 9, 1, 2, 9, 9]]))
    assert middle["values"].tolist() == [[3.0, -1.0]]


def test_the_baseline_of_diabetes_is_the_specification_s(tmp_path) -> None:
    """Specification, check 5: least squares 53.476, the mean 77.006, R² 0.5177, on all rows."""
    dataset = Diabetes().load(1, tmp_path)
    labels = torch.from_numpy(dataset.labels)
    spec = TargetSpec((), "float32", centre=(float(labels.mean()),), spread=(float(labels.std()),))
    task = Regression(targets=spec)
    measures = Measures.of(task, ["rmse", "r2"])
    base = task.baseline()
    assert base is not None

    def values(outputs: torch.Tensor) -> dict[str, float]:
        sums = measures.sums(task.scored(outputs, labels))
        return measures.values({name: value.numpy() for name, value in sums.items()})

    assert values(base.expand(len(labels), 1))["rmse"] == pytest.approx(77.006, abs=1e-3)
    inputs = np.c_[np.ones(442), dataset.inputs]
    fitted = inputs @ np.linalg.lstsq(inputs, dataset.labels, rcond=None)[0]
    scaled = torch.from_numpy((fitted - spec.centre[0]) / spec.spread[0])[:, None]
    assert values(scaled)["rmse"] == pytest.approx(53.476, abs=1e-3)
    assert values(scaled)["r2"] == pytest.approx(0.5177, abs=1e-4)


def test_a_baseline_predicts_what_is_most_frequent() -> None:
    counts = TargetSpec(classes=3, counts=(1, 6, 3))
    task = Classification(targets=counts)
    assert task.baseline().softmax(0).tolist() == pytest.approx([0.1, 0.6, 0.3])  # type: ignore[union-attr]
    binary = Binary(targets=TargetSpec(classes=2, counts=(3, 1))).baseline()
    assert binary.sigmoid().tolist() == pytest.approx([0.25])  # type: ignore[union-attr]
    words = NextToken(targets=TargetSpec((5,), classes=3, counts=(1, 6, 3))).baseline()
    assert words.shape == (5, 3)  # type: ignore[union-attr]
    pixels = Segmentation(targets=TargetSpec((4, 4), classes=3, counts=(1, 6, 3))).baseline()
    assert pixels.shape == (3, 4, 4)  # type: ignore[union-attr]
    assert Survival(1.0, targets=TargetSpec((2,), "float32")).baseline() is None


def test_no_label_of_a_target_client_is_in_what_a_task_is_told() -> None:
    labels, offsets = np.array([0, 0, 1, 2, 2, 2]), np.array([0, 2, 2, 3, 6, 6, 6])
    open_ones = target_spec(labels, offsets, 3, np.array([False, False]))
    assert open_ones.counts == (2, 0, 3)  # of the training parts: label 1 is in a test part
    assert target_spec(labels, offsets, 3, np.array([False, True])).counts == (2, 0, 0)


def test_full_batch_steps_on_diabetes_come_to_least_squares(tmp_path) -> None:
    """Specification: coefficients within 2e-4 after 4,000 steps and 2e-5 after 8,000."""
    dataset = Diabetes().load(1, tmp_path)
    inputs = dataset.inputs.astype(np.float64)
    inputs = (inputs - inputs.mean(axis=0)) / inputs.std(axis=0)
    targets = dataset.labels.astype(np.float64)
    spec = TargetSpec(
        (), "float32", centre=(float(targets.mean()),), spread=(float(targets.std()),)
    )
    scaled = (targets - targets.mean()) / targets.std()
    least = np.linalg.lstsq(inputs, scaled, rcond=None)[0]
    steepest = np.linalg.eigvalsh(inputs.T @ inputs / len(inputs)).max()
    assert steepest == pytest.approx(4.0242, abs=1e-4)
    model = nn.Linear(10, 1, bias=False)
    nn.init.zeros_(model.weight)
    examples = Examples(
        torch.from_numpy(inputs).float(),
        torch.from_numpy(dataset.labels),
        task=Regression(targets=spec),
    )
    # The mean squared error has the curvature 2 X'X / n.
    rule = Sgd(lr=1 / (2 * steepest), batch_size=len(inputs), steps=4000)
    for steps, apart in ((4000, 2e-4), (8000, 2e-5)):
        instruction = Instruction(1, "train", ClientInfo(0, 442), Broadcast(weights_of(model)))
        rule.train(model, examples, instruction, generator())
        difference = np.abs(model.weight.detach().numpy()[0] - least).max()
        assert difference < apart, steps


def test_one_step_a_round_on_ten_clients_is_central_training(play) -> None:
    """Full batches of equal clients: the mean of their steps is the step on all examples."""
    settings = {
        "rounds": 30,
        "data": {"source": "diabetes", "holdout": {"server_test": "12%"}},
        "model": {"use": "mlp", "hidden": []},
        "local": {"lr": 0.1, "batch_size": 1000},
        "strategy": "fedavg",
    }
    ten = play({**settings, "clients": {"count": 10}})
    one = play({**settings, "clients": {"count": 1}})
    assert ten.metrics["rmse"] == pytest.approx(one.metrics["rmse"], rel=1e-5)
    assert list(ten.metrics) == ["rmse", "mae", "r2", "loss"]


def test_breast_cancer_is_told_apart_by_ten_skewed_clients(play) -> None:
    """Specification: AUROC at least 0.985 after 50 rounds."""
    result = play(
        {
            "rounds": 50,
            "data": {"source": "breast_cancer", "partition": {"use": "dirichlet", "alpha": 0.3}},
            "model": {"use": "mlp", "hidden": []},
            "clients": {"count": 10},
            "local": {"lr": 0.1, "batch_size": 32},
            "strategy": "fedavg",
            "references": ["centralized"],
        }
    )
    assert result.metrics["auroc"] >= 0.985
    assert abs(result.metrics["auroc"] - result.references["centralized"]["auroc"]) <= 0.01
