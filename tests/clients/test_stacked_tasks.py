"""Several clients learn any task in the same steps, each as if it were alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples, StackedClient
from fedsim.clients.sgd import Sgd
from fedsim.models._state import load_weights, weights_of
from fedsim.models.convnet import ConvNet
from fedsim.models.mlp import MLP
from fedsim.models.transformer import Transformer
from fedsim.models.unet import UNet
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.stacked.networks import Layers, Mlp, Net, Vmapped, net_of
from fedsim.task import TargetSpec, Task
from fedsim.tasks.binary import Binary
from fedsim.tasks.classification import Classification
from fedsim.tasks.multilabel import Multilabel
from fedsim.tasks.next_token import NextToken
from fedsim.tasks.regression import Regression
from fedsim.tasks.segmentation import Segmentation
from fedsim.tasks.survival import Survival
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update

SIZES = [23, 40, 0, 12]
SHAPE = (1, 8, 8)
FLOATS = TargetSpec((), "float32", centre=(3.0,), spread=(2.0,))
PAIRS = TargetSpec((2,), "float32", centre=(3.0, 1.0), spread=(2.0, 1.0))


@dataclass(frozen=True)
class LogCosh(Task):
    """A task of somebody's own, without a written derivative."""

    metrics: ClassVar[tuple[str, ...]] = ("loss",)

    @property
    def outputs(self) -> int:
        return 1

    def losses(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        losses = (outputs[:, 0] - targets).cosh().log()
        return losses, losses.new_ones(len(losses))

    def predict(self, outputs: Tensor) -> Mapping[str, Tensor]:
        return {"values": outputs}


def floats(n: int, g: torch.Generator) -> Tensor:
    return 3 + 2 * torch.randn(n, generator=g)


def drawn(high: int, *shape: int) -> Callable[[int, torch.Generator], Tensor]:
    return lambda n, g: torch.randint(high, (n, *shape), generator=g)


def times(n: int, g: torch.Generator) -> Tensor:
    return torch.stack([10 * torch.rand(n, generator=g), drawn(2)(n, g).float()], dim=1)


TASKS: dict[str, tuple[Task, Callable[[int, torch.Generator], Tensor]]] = {
    "mse": (Regression(targets=FLOATS), floats),
    "mse of two": (Regression(targets=PAIRS), lambda n, g: torch.randn(n, 2, generator=g)),
    "huber": (Regression(loss="huber", delta=0.3, targets=FLOATS), floats),
    "mae": (Regression(loss="mae", targets=FLOATS), floats),
    "quantile": (Regression(loss="quantile", targets=FLOATS), floats),
    "poisson": (Regression(loss="poisson", targets=FLOATS), lambda n, g: floats(n, g).abs()),
    "binary": (Binary(pos_weight=3.0, targets=TargetSpec(classes=2)), drawn(2)),
    "multilabel": (Multilabel(targets=TargetSpec((4,), "int64")), drawn(2, 4)),
    "weighted classes": (
        Classification(class_weights=(1.0, 2.0, 3.0), targets=TargetSpec(classes=3)),
        drawn(3),
    ),
    "smoothed": (Classification(smoothing=0.1, targets=TargetSpec(classes=3)), drawn(3)),
    "focal": (Classification(focal=2.0, targets=TargetSpec(classes=3)), drawn(3)),
    "survival": (Survival(horizon=10.0, targets=TargetSpec((2,), "float32")), times),
    "own": (LogCosh(targets=FLOATS), floats),
}


def both(
    model: nn.Module, draw: Callable[[int], Examples], rule: Sgd
) -> tuple[list[Update], list[Update]]:
    """Return the updates one by one and together."""
    first = weights_of(model)

    def members() -> list[StackedClient]:
        return [
            StackedClient(
                draw(client),
                Instruction(1, "train", ClientInfo(client, size), Broadcast(first)),
                torch_stream(3, "client", client),
            )
            for client, size in enumerate(SIZES)
        ]

    alone = []
    for member in members():
        load_weights(model, first)
        alone.append(rule.train(model, member.examples, member.instruction, member.generator))
    load_weights(model, first)
    return alone, rule.train_together(model, members())


def close(alone: list[Update], stacked: list[Update], most: float = 1e-4) -> None:
    for one_alone, one_stacked in zip(alone, stacked, strict=True):
        assert one_alone.examples == one_stacked.examples
        assert one_alone.metrics == pytest.approx(one_stacked.metrics, rel=1e-4)
        size = max(float(tensor.abs().max()) for tensor in one_alone.delta.values())
        assert size > 0 or not one_alone.examples
        for name, tensor in one_alone.delta.items():
            gap = float((tensor - one_stacked.delta[name]).abs().max())
            assert gap <= most * max(size, 1e-9), name


def examples_of(task: Task, targets: Any, weighted: bool = False) -> Callable[[int], Examples]:
    def draw(client: int) -> Examples:
        generator = torch_stream(5, "examples", client)
        size = SIZES[client]
        inputs = torch.randn(size, *SHAPE, generator=generator)
        weights = torch.rand(size, generator=generator) + 0.1 if weighted else None
        return Examples(inputs, targets(size, generator), weights, task)

    return draw


RULES = {
    "plain": Sgd(lr=0.02, batch_size=10, epochs=2),
    "momentum and clip": Sgd(lr=0.02, batch_size=10, momentum=0.9, clip=0.5),
    "accumulated": Sgd(lr=0.02, batch_size=5, accumulate=2),
}


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", TASKS)
def test_together_is_one_by_one_up_to_rounding(name: str, rule: str, weighted: bool) -> None:
    task, targets = TASKS[name]
    with torch_defaults(1, "model"):
        model = MLP(SHAPE, task.outputs, hidden=(12,))
    close(*both(model, examples_of(task, targets, weighted), RULES[rule]))


def test_plain_classification_with_weights_of_examples() -> None:
    task = Classification(targets=TargetSpec(classes=3))
    for model in (MLP(SHAPE, 3, hidden=(12,)), ConvNet(SHAPE, 3, width=4)):
        close(*both(model, examples_of(task, drawn(3), weighted=True), RULES["plain"]))


@pytest.mark.parametrize("name", ["mse", "binary", "quantile", "own"])
def test_a_convolution_learns_them_together(name: str) -> None:
    task, targets = TASKS[name]
    with torch_defaults(1, "model"):
        model = ConvNet(SHAPE, task.outputs, width=4)
    close(*both(model, examples_of(task, targets), RULES["plain"]))


def test_masks_and_tokens_are_learnt_together() -> None:
    masks = Segmentation(targets=TargetSpec((8, 8), "int64", classes=3))
    with torch_defaults(1, "model"):
        unet = UNet(SHAPE, 3, width=4, depth=1)
        words = Transformer((6,), 9, width=8, heads=2)
    close(*both(unet, examples_of(masks, drawn(3, 8, 8)), RULES["plain"]), most=1e-3)
    tokens = NextToken(targets=TargetSpec((6,), "int64", classes=9))

    def windows(client: int) -> Examples:
        text = torch.randint(9, (SIZES[client], 7), generator=torch_stream(5, "text", client))
        targets = text[:, 1:].clone()
        targets[::2, 4:] = -1  # of unequal length: a batch's mean is over tokens
        return Examples(text[:, :-1], targets, None, tokens)

    close(*both(words, windows, RULES["plain"]), most=1e-3)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("mse", Mlp), ("huber", Mlp), ("binary", Mlp), ("multilabel", Mlp), ("quantile", Layers)],
)
def test_a_written_derivative_is_used_where_there_is_one(name: str, kind: type[Net]) -> None:
    task = TASKS[name][0]
    assert isinstance(net_of(MLP(SHAPE, task.outputs, hidden=(12,)), task), kind)
    assert isinstance(net_of(UNet(SHAPE, 3, width=4, depth=1), task), Vmapped)
