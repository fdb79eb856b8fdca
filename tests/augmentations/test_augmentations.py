"""Augmentations draw for each example, from a stream of their own: they move no batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.augmentations.augmentation import Augmentation, augmented
from fedsim.augmentations.random_changes import Crop, Cutout, Flip, GaussianNoise
from fedsim.cli.app import main
from fedsim.client import Examples, StackedClient
from fedsim.clients.controlled import Controlled
from fedsim.clients.proximal import Proximal
from fedsim.clients.sgd import Sgd
from fedsim.engine.run import resume_run
from fedsim.errors import RunError, ScenarioError
from fedsim.runlog.run_folder import RunFolder
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction

CHAIN = [
    {"use": "crop", "padding": 1},
    "flip",
    {"use": "cutout", "size": 2},
    {"use": "gaussian_noise", "deviation": 0.05},
]
SHIFTED: tuple[Augmentation, ...] = (Crop(2), Flip(), Cutout(3), GaussianNoise(0.1))


def numbered(count: int, channels: int = 2, height: int = 6, width: int = 5) -> Tensor:
    """Return images in which every pixel is another number, above 0."""
    size = count * channels * height * width
    return torch.arange(1.0, size + 1).view(count, channels, height, width)


def stream(at: int = 0) -> torch.Generator:
    return torch_stream(3, "test", at)


@pytest.mark.parametrize("channels", [1, 3, 7])
def test_a_crop_is_a_window_of_the_padded_image_in_all_channels(channels: int) -> None:
    images = numbered(200, channels)
    moved = Crop(2).changed(images, stream())
    padded = nn.functional.pad(images, [2] * 4)
    places: Counter[tuple[int, int]] = Counter()
    for image, whole in zip(moved, padded, strict=True):
        windows = {
            (down, right): whole[:, down : down + 6, right : right + 5]
            for down in range(5)
            for right in range(5)
        }
        fitting = [place for place, window in windows.items() if torch.equal(image, window)]
        assert len(fitting) == 1
        places.update(fitting)
    assert len(places) == 25  # every place, for some image


def test_a_flip_mirrors_about_half_of_the_images_and_no_part_of_one() -> None:
    images = numbered(1000)
    flipped = Flip().changed(images, stream())
    mirrored = (flipped == images.flip(-1)).flatten(1).all(dim=1)
    same = (flipped == images).flatten(1).all(dim=1)
    assert (mirrored ^ same).all()
    assert 450 < int(mirrored.sum()) < 550
    assert torch.equal(Flip(1.0).changed(images, stream()), images.flip(-1))


@pytest.mark.parametrize("size", [2, 3, 40])
def test_a_cutout_is_one_square_of_zeros_that_may_lie_partly_outside(size: int) -> None:
    images = numbered(500, channels=3, height=12, width=11)
    cut = Cutout(size).changed(images, stream())
    holes = cut == 0
    assert torch.equal(cut[~holes], images[~holes])
    assert (holes == holes[:, :1]).all()  # the same in all channels
    areas = []
    for hole in holes[:, 0]:
        rows, columns = hole.any(dim=1), hole.any(dim=0)
        assert torch.equal(hole, rows[:, None] & columns[None, :])
        for side in (rows, columns):
            places = side.nonzero().flatten()
            assert int(places[-1] - places[0]) + 1 == len(places) <= size
        areas.append(int(hole.sum()))
    assert max(areas) == min(size, 12) * min(size, 11)
    if size < 12:
        assert min(areas) < size * size


def test_noise_has_its_deviation_and_is_independent_between_examples() -> None:
    table = torch.ones(2000, 10)
    noise = GaussianNoise(0.25).changed(table, stream()) - table
    assert float(noise.std()) == pytest.approx(0.25, rel=0.02)
    assert abs(float(torch.corrcoef(noise[:2])[0, 1])) < 0.99
    assert float(noise.mean(dim=1).std()) == pytest.approx(0.25 / 10**0.5, rel=0.1)


@pytest.mark.parametrize("change", SHIFTED, ids=lambda change: type(change).__name__)
def test_examples_stay_as_they_are_and_equal_streams_give_equal_changes(
    change: Augmentation,
) -> None:
    images = numbered(40)
    before = images.clone()
    first, again = (change.changed(images, stream()) for _ in range(2))
    assert torch.equal(images, before)
    assert torch.equal(first, again)
    assert not torch.equal(first, change.changed(images, stream(1)))


def test_each_augmentation_and_each_pass_has_a_stream_of_its_own() -> None:
    images = numbered(50)
    alone = augmented(images, (Crop(2),), 5, 0)
    assert torch.equal(augmented(images, (Crop(2), Flip(1.0)), 5, 0), alone.flip(-1))
    assert not torch.equal(augmented(images, (Crop(2),), 5, 1), alone)
    assert not torch.equal(augmented(images, (Crop(2),), 6, 0), alone)


@dataclass(frozen=True)
class Halved(Augmentation):
    """Returns fewer examples than it took."""

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        return inputs[::2]


def test_examples_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RunError, match=r"Crop takes images \(channels, height, width\), not \(4"):
        augmented(torch.rand(5, 4), (Crop(),), 1, 0)
    with pytest.raises(RunError, match=r"changes numbers, and these are torch.int64"):
        augmented(torch.ones(5, 4, dtype=torch.int64), (GaussianNoise(),), 1, 0)
    with pytest.raises(RunError, match=r"Halved made \(3, 4\) .* has to keep its shape"):
        augmented(torch.rand(5, 4), (Halved(),), 1, 0)


@dataclass(frozen=True)
class Watched(Augmentation):
    """Changes nothing, and draws much: a batch that followed its draws would move."""

    def changed(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        torch.rand(12345, generator=generator)
        return inputs.clone()


def turn(rule: Sgd, model: nn.Module, **more: Any) -> dict[str, Tensor]:
    inputs = torch.rand(37, 1, 6, 6, generator=stream(8))
    labels = torch.randint(4, (37,), generator=stream(9))
    broadcast = Broadcast({k: v.detach().clone() for k, v in model.named_parameters()})
    instruction = Instruction(2, "train", ClientInfo(1, 37), broadcast, {})
    examples = Examples(inputs, labels)
    return dict(rule.train(model, examples, instruction, torch_stream(1, "client", 2)).delta)


def net() -> nn.Module:
    with torch_defaults(0, "net"):
        return nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.Dropout(0.3), nn.Linear(8, 4))


@pytest.mark.parametrize("rule", [Sgd, Proximal, Controlled])
@pytest.mark.parametrize(
    "more", [{}, {"accumulate": 2}, {"steps": 7}, {"drop_last": True}], ids=str
)
def test_augmentation_moves_no_batch_and_no_dropout(rule: type[Sgd], more: dict[str, Any]) -> None:
    plain = rule(lr=0.1, epochs=3, batch_size=8, **more)
    watched = replace(plain, augment=(Watched(), Watched()))
    first, second = turn(plain, net()), turn(watched, net())
    assert all(torch.equal(first[name], second[name]) for name in first)
    moved = turn(replace(plain, augment=(Flip(),)), net())
    assert not all(torch.equal(first[name], moved[name]) for name in first)


class Net(nn.Module):
    """Keeps the inputs that it meets, and learns nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4))
        self.met: list[Tensor] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.met.append(inputs)
        return self.weight.expand(len(inputs), 4)


def passes_met(batch_size: int) -> list[Tensor]:
    """Return the examples of each of two passes, in an order that is theirs."""
    model = Net()
    turn(Sgd(epochs=2, batch_size=batch_size, augment=(GaussianNoise(),)), model)
    met = torch.cat(model.met)
    return [rows[rows[:, 0, 0, 0].argsort()] for rows in torch.split(met, 37)]


def test_every_pass_meets_other_changes_and_the_size_of_batches_changes_none() -> None:
    first, second = passes_met(37)
    assert not torch.equal(first, second)
    assert first.mean() == pytest.approx(float(second.mean()), abs=0.05)
    for batch_size in (5, 16):
        assert all(map(torch.equal, passes_met(batch_size), (first, second)))


def test_stacked_clients_fall_back_to_one_by_one(scenario, play) -> None:
    member = StackedClient(
        Examples(torch.rand(4, 1, 6, 6), torch.zeros(4, dtype=torch.int64)),
        Instruction(1, "train", ClientInfo(0, 4), Broadcast({}), {}),
        stream(),
    )
    with pytest.raises(RunError, match="examples that are changed before each pass"):
        Sgd(augment=(Flip(),)).train_together(net(), [member])
    alone = play(scenario(local={"augment": CHAIN}))
    asked = play(scenario(local={"augment": CHAIN}, compute={"backend": "local", "cohort": 4}))
    assert asked.result.weights_sha256 == alone.result.weights_sha256
    assert any("one by one: examples that are changed" in note for note in asked.notes)


@pytest.mark.parametrize("strategy", ["fedavg", "scaffold", "fednova"])
def test_a_killed_run_resumes_to_the_same_bits(
    strategy, scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(strategy=strategy, local={"augment": CHAIN, "epochs": 2})
    whole = play(of).result
    assert whole.weights_sha256 != play(scenario(strategy=strategy, local={"epochs": 2}))
    folder = RunFolder.create(tmp_path / "cut")
    run_killed_at(of, folder, 4)
    assert resume_run(folder, lambda _: None).weights_sha256 == whole.weights_sha256
    assert resume_run(folder, lambda _: None).metrics_sha256 == whole.metrics_sha256


@pytest.mark.ray
def test_two_workers_give_the_bits_of_one(scenario, play, ray_session) -> None:
    sections = {"local": {"augment": CHAIN, "epochs": 2}, "references": ["local", "centralized"]}
    here = play(scenario(**sections)).result
    there = play(scenario(**sections, compute={"backend": "ray", "workers": 2})).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256
    assert there.references == here.references


def test_no_augmentation_leaves_the_bits_and_an_own_file_is_found(scenario, play, tmp_path) -> None:
    plain = play(scenario()).result.weights_sha256
    assert play(scenario(local={"augment": []})).result.weights_sha256 == plain
    (tmp_path / "mine.py").write_text(
        '"""A change of one\'s own."""\n'
        "from dataclasses import dataclass\n"
        "from fedsim.augmentations.augmentation import Augmentation\n\n\n"
        "@dataclass(frozen=True)\n"
        "class Brighter(Augmentation):\n"
        '    """Adds a number."""\n\n'
        "    by: float = 0.0\n\n"
        "    def changed(self, inputs, generator):\n"
        "        return inputs + self.by\n"
    )
    own = scenario(local={"augment": ["./mine.py:Brighter"]})
    assert play(own).result.weights_sha256 == plain
    brighter = scenario(local={"augment": [{"use": "./mine.py:Brighter", "by": 0.5}]})
    assert play(brighter).result.weights_sha256 != plain


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"local": {"augment": ["flop"]}}, "no augmentation is called 'flop'"),
        ({"local": {"augment": [{"use": "crop", "padding": 0}]}}, r"augment\[0\].padding: a whole"),
        ({"local": {"augment": "flip"}}, "a list of plug-ins .* is expected, not 'flip'"),
        (
            {
                "local": {"use": "dp_sgd", "augment": ["flip"]},
                "privacy": {"unit": "record", "clip": 1, "noise_multiplier": 1, "delta": 1e-5},
            },
            "does without it: its bound is of examples as they are",
        ),
        (
            {
                "data": {"source": "digits_canvas"},
                "task": "segmentation",
                "model": "unet",
                "local": {"augment": ["gaussian_noise", "flip"]},
            },
            r"augment\[1\]: flip moves pixels, and their labels would stay",
        ),
    ],
)
def test_what_does_not_fit_is_a_fault(sections, message, scenario) -> None:
    with pytest.raises(ScenarioError, match=message):
        scenario(**sections)


@pytest.mark.parametrize("change", ["crop", "flip", "cutout"])
def test_a_table_refuses_what_images_take_in_check(change, tmp_path: Path, capsys) -> None:
    (tmp_path / "t.yaml").write_text(
        "rounds: 2\ndata: {source: breast_cancer}\nmodel: {use: mlp, hidden: [4]}\n"
        f"clients: {{count: 3}}\nstrategy: fedavg\nlocal: {{augment: [gaussian_noise, {change}]}}\n"
    )
    assert main(["check", str(tmp_path / "t.yaml")]) == 2
    error = capsys.readouterr().err
    assert f"local.augment[1]: {change} takes images (channels, height, width)" in error
    assert main(["check", str(tmp_path / "t.yaml"), "--set", "local.augment=[gaussian_noise]"]) == 0


TRANSFORMS = '''"""Stands in for torchvision, which is not among the tested packages."""

import torch


class RandomShade:
    """Multiplies all that it is given by one random number, as such transforms do."""

    def __init__(self, low: float = 0.5):
        if low > 1:
            raise ValueError("low is above 1")
        self.low = low

    def __call__(self, image):
        return image * (self.low + (1 - self.low) * torch.rand(()))
'''


def test_a_transform_of_torchvision_decides_for_each_example(
    scenario, play, tmp_path, monkeypatch
) -> None:
    package = tmp_path / "site" / "torchvision" / "transforms"
    package.mkdir(parents=True)
    for place in (package.parent, package):
        (place / "__init__.py").write_text("")
    (package / "v2.py").write_text(TRANSFORMS)
    monkeypatch.syspath_prepend(tmp_path / "site")
    from fedsim.augmentations.torchvision_transform import TorchvisionTransform

    images = numbered(30)
    state = torch.get_rng_state()
    shaded = TorchvisionTransform.of("RandomShade", {"low": 0.1}).changed(images, stream())
    assert torch.equal(torch.get_rng_state(), state)
    factors = (shaded / images).flatten(1)
    assert torch.allclose(factors, factors[:, :1].expand_as(factors))
    assert len({round(float(factor), 6) for factor in factors[:, 0]}) == 30
    run = play(scenario(local={"augment": [{"use": "torchvision:RandomShade", "low": 0.2}]}))
    assert run.result.weights_sha256 != play(scenario()).result.weights_sha256
    with pytest.raises(ScenarioError, match="has no parameter 'hgh'"):
        scenario(local={"augment": [{"use": "torchvision:RandomShade", "hgh": 1}]})


KEPT_STATE: dict[str, Any] = {
    "rounds": 4,
    "clients": {"count": 6, "per_round": 4},
    "model": "./dropping.py:Dropping",
    "local": {
        "epochs": 2,
        "augment": CHAIN,
        "optimizer": {"use": "adam", "lr": 0.01},
        "state": "keep",
    },
}
DROPPING = '''"""A small net with dropout."""

from torch import nn


class Dropping(nn.Sequential):
    """Drops a third of its hidden units."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__(
            nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Dropout(0.3), nn.Linear(16, classes)
        )
'''


@pytest.mark.ray
def test_with_dropout_and_kept_state_workers_and_a_kill_change_no_bit(
    scenario, play, tmp_path, run_killed_at, ray_session
) -> None:
    (tmp_path / "dropping.py").write_text(DROPPING)
    here = play(scenario(**KEPT_STATE)).result
    there = {"compute": {"backend": "ray", "workers": 2}}
    spread = play(scenario(**KEPT_STATE, **there)).result
    folder = RunFolder.create(tmp_path / "cut")
    run_killed_at(scenario(**KEPT_STATE, **there), folder, 5)
    resumed = resume_run(folder, lambda _: None)
    longer = play(scenario(**{**KEPT_STATE, "rounds": 2})).folder
    prolonged = resume_run(longer, lambda _: None, rounds=4)
    for other in (spread, resumed, prolonged):
        assert other.weights_sha256 == here.weights_sha256
        assert other.metrics_sha256 == here.metrics_sha256
