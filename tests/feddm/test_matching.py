"""FedDM's local update rule: what it computes, all classes at once, is what the paper writes."""

from __future__ import annotations

import pytest
import torch

from fedsim.client import Examples
from fedsim.clients.matching import Matching
from fedsim.condense.augment import augmentation
from fedsim.condense.by_class import Batch, ByClass
from fedsim.condense.memorisation import nearest_distances
from fedsim.condense.model_sphere import Sphere
from fedsim.condense.pixel_coding import decoded, encoded
from fedsim.errors import RunError
from fedsim.models._split import embedded, mismatch
from fedsim.models.mlp import MLP
from fedsim.models.resnet8_gn import ResNet8GN
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Weights
from tests.feddm.plain_feddm import equation_1, step


@pytest.mark.parametrize("most", [5, 15, 100])
def test_all_classes_at_once_come_to_the_loop_over_classes(most, model, held) -> None:
    of = ByClass.of(held, least=10)
    batch, images = Batch(of, most), of.some(3, torch_stream(0, "images"))
    real = batch.draw(torch_stream(0, "batch"))
    sizes = [min(most, n) for n in (23, 31, 12)]
    slow = images.clone().requires_grad_()
    truth = equation_1(model, list(slow), torch.split(real, sizes))
    fast = images.clone().requires_grad_()
    made = embedded(model, fast.flatten(0, 1)).reshape(3, 3, -1).mean(1)
    loss = mismatch(batch.average @ embedded(model, real).detach(), made)
    assert loss.item() == pytest.approx(truth.item(), rel=1e-5)
    (wanted,), (got,) = torch.autograd.grad(truth, slow), torch.autograd.grad(loss, fast)
    assert torch.allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_one_step_moves_the_images_down_the_gradient_of_the_loop(model, held, turn) -> None:
    """The whole turn against the same draws, spent by hand."""
    update = turn(steps=1, real_batch=6, image_lr=0.5)
    generator = torch_stream(1, "client")
    of = ByClass.of(held, 10)
    images = of.some(3, generator)
    sphere = Sphere(model, 5.0)
    sphere.move(generator)
    real = torch.split(Batch(of, 6).draw(generator), [6, 6, 6])
    after = step(model, images, real, lr=0.5)
    sent = update.extras["synthetic"]["images"].reshape(images.shape)
    loss = equation_1(model, list(images), real)
    assert torch.allclose(sent, after, atol=1e-6)
    assert update.metrics["mismatch"] == pytest.approx(loss.item() / 3, rel=1e-5)


def test_momentum_is_torch_sgd_s(turn, model, held) -> None:
    sent = turn(steps=4, real_batch=100, radius=0.0, image_momentum=0.5).extras["synthetic"]
    of = ByClass.of(held, 10)
    images = of.some(3, torch_stream(1, "client")).requires_grad_()
    by_class = torch.split(of.inputs, of.sizes.tolist())
    sgd = torch.optim.SGD([images], lr=1.0, momentum=0.5)
    for _ in range(4):
        sgd.zero_grad()
        torch.autograd.backward(equation_1(model, list(images), by_class))
        sgd.step()
    assert torch.allclose(sent["images"], images.detach().flatten(0, 1), atol=1e-4)


@pytest.mark.parametrize("radius", [0.0, 0.01, 5.0])
def test_models_lie_at_the_radius_and_around_the_server_s(radius, model) -> None:
    before = torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    sphere, generator = Sphere(model, radius), torch_stream(0, "sphere")
    places = []
    for _ in range(3):
        sphere.move(generator)
        places.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach() - before)
    for place in places:
        assert place.norm().item() == pytest.approx(radius, rel=1e-4)
    if radius == 5:  # apart from each other as independent directions are
        assert abs(places[0] @ places[1]).item() < 0.2 * radius**2
        assert all(bool(p.any()) for p in (model.head.bias - 0, places[0]))


def test_a_batch_holds_nothing_twice_and_only_its_class(held) -> None:
    numbered = Examples(torch.arange(len(held)).float()[:, None], held.labels)
    of = ByClass.of(numbered, least=10)
    assert of.classes.tolist() == [0, 5, 7]
    drawn = Batch(of, 15).draw(torch_stream(3, "batch"))[:, 0].long()
    assert len(set(drawn.tolist())) == len(drawn) == 15 + 15 + 12
    assert held.labels[drawn].tolist() == [0] * 15 + [5] * 15 + [7] * 12
    repeated = of.some(40, torch_stream(3, "some"))[:, :, 0].long()
    assert repeated.shape == (3, 40)
    assert [len(row.unique()) for row in repeated] == [23, 31, 12]


def test_without_steps_real_images_are_sent_untouched(held, turn) -> None:
    sent = turn(steps=0, images_per_class=12).extras["synthetic"]
    rows = {row.numpy().tobytes(): int(y) for row, y in zip(held.inputs, held.labels, strict=True)}
    assert [rows[image.numpy().tobytes()] for image in sent["images"]] == sent["labels"].tolist()
    assert sent["labels"].tolist() == [0] * 12 + [5] * 12 + [7] * 12
    assert len({image.numpy().tobytes() for image in sent["images"]}) == 36


def test_a_client_with_no_class_above_the_minimum_sends_an_empty_set(turn) -> None:
    update = turn(min_examples=32)
    sent = update.extras["synthetic"]
    assert (update.examples, update.delta, dict(update.metrics)) == (0, {}, {})
    assert (sent["images"].shape, sent["labels"].shape) == ((0, 1, 8, 8), (0,))
    assert turn(of=Examples(torch.zeros(0, 1, 8, 8), torch.zeros(0).long())).examples == 0


def test_examples_are_those_of_the_classes_that_are_sent(turn) -> None:
    assert turn().examples == 23 + 31 + 12
    assert turn(min_examples=9).examples == 75


@pytest.mark.parametrize("coding", ["fp32", "fp16", "uint8"])
def test_bytes_are_those_of_the_formula(coding, turn) -> None:
    sent = turn(coding=coding).extras["synthetic"]
    pixel = {"fp32": 4, "fp16": 2, "uint8": 1}[coding]
    images = 3 * 3
    assert sent["images"].nbytes + sent["labels"].nbytes == pixel * images * 64 + images
    scale = sum(tensor.nbytes for name, tensor in sent.items() if name in ("low", "step"))
    assert scale == (8 if coding == "uint8" else 0)


def test_coding_keeps_what_it_promises() -> None:
    images = torch.randn(20, 3, 5, 5, generator=torch_stream(0, "images")) * 3
    assert decoded(encoded(images, "fp32")) is images
    half = decoded(encoded(images, "fp16"))
    assert torch.all((half - images).abs() <= 2.0**-11 * images.abs() + 1e-7)
    bytes_ = encoded(images, "uint8")
    off = (decoded(bytes_) - images).abs().max()
    assert off <= bytes_["step"] / 2 * (1 + 1e-4)
    assert {0, 255} <= set(bytes_["images"].flatten().tolist())


@pytest.mark.parametrize("images", [torch.full((2, 4), 3.5), torch.zeros(0, 4)])
def test_bytes_of_one_value_and_of_none_come_back(images) -> None:
    assert torch.equal(decoded(encoded(images, "uint8")), images)


def test_a_set_that_is_too_large_is_refused(turn) -> None:
    with pytest.raises(RunError, match=r"3 images of 3 classes take 2304 bytes, .* allows 2000"):
        turn(max_bytes=2000)
    turn(max_bytes=2304)


def test_the_stream_alone_decides(turn) -> None:
    one = turn(augment="flip_shift_scale", init="noise").extras["synthetic"]["images"]
    torch.rand(3)
    two = turn(augment="flip_shift_scale", init="noise").extras["synthetic"]["images"]
    assert torch.equal(one, two)


def test_noise_keeps_away_from_real_images_and_real_ones_stay_near(turn) -> None:
    real = turn(memorisation=True, steps=5).metrics
    noise = turn(memorisation=True, steps=5, init="noise").metrics
    raw = turn(memorisation=True, steps=0).metrics
    assert raw["nearest"] == 0
    assert real["nearest"] < 0.7 * real["nearest_real"] < 1.4 * noise["nearest"]


def test_nearness_is_what_a_loop_finds(held) -> None:
    of = ByClass.of(held, 10)
    images = torch.randn(3, 4, 1, 8, 8, generator=torch_stream(5, "images"))
    parts = torch.split(of.inputs, of.sizes.tolist())
    made = [
        min(float((image - x).square().mean().sqrt()) for x in part)
        for row, part in zip(images, parts, strict=True)
        for image in row
    ]
    apart = [
        min(float((part[-1 - k] - x).square().mean().sqrt()) for x in part if x is not part[-1 - k])
        for part in ([list(p) for p in parts])
        for k in range(4)
    ]
    found = nearest_distances(images, of)
    assert found["nearest"] == pytest.approx(sum(made) / 12, rel=1e-5)
    assert found["nearest_real"] == pytest.approx(sum(apart) / 12, rel=1e-5)


def test_weights_say_how_many_examples_an_image_stands_for(turn) -> None:
    sent = turn(weighting="examples").extras["synthetic"]
    assert sent["weight"].tolist() == pytest.approx([23 / 3] * 3 + [31 / 3] * 3 + [4] * 3)
    assert "weight" not in turn().extras["synthetic"]


def refused(model, inputs) -> str:
    held = Examples(inputs, torch.zeros(len(inputs)).long())
    instruction = Instruction(1, "match", ClientInfo(0, len(held)), Broadcast({}))
    with pytest.raises(RunError) as caught:
        Matching().match(model, held, instruction, torch_stream(0, "client"))
    return str(caught.value)


def test_a_model_in_one_piece_is_refused() -> None:
    what = refused(torch.nn.Linear(4, 2), torch.zeros(12, 4))
    assert what.startswith(
        "matching needs a model with features(x) and head(z), which Linear lacks"
    )


def test_batch_normalisation_is_refused(model) -> None:
    model.body[1] = torch.nn.BatchNorm2d(4)
    assert "cannot work on batch normalisation (body.1)" in refused(model, torch.zeros(12, 1, 8, 8))


@pytest.mark.parametrize("kind", ["mlp", "resnet"])
def test_any_split_model_can_be_matched_on(kind, held) -> None:
    other = MLP((1, 8, 8), 10) if kind == "mlp" else ResNet8GN((1, 8, 8), 10)
    instruction = Instruction(1, "match", ClientInfo(0, len(held)), Broadcast({}))
    half = Matching(steps=1, images_per_class=2)
    sent: Weights = half.match(other, held, instruction, torch_stream(0, "client")).extras[
        "synthetic"
    ]
    assert bool(sent["images"].isfinite().all())


def test_augmentation_is_one_linear_map_for_both_branches() -> None:
    one, two = torch.randn(2, 6, 3, 8, 10, generator=torch_stream(0, "images"))
    change = augmentation("flip_shift_scale", one.shape, torch_stream(4, "augment"))
    assert torch.allclose(change(one + two), change(one) + change(two), atol=1e-5)
    assert torch.equal(change(one), change(one))
    assert torch.equal(augmentation("none", one.shape, torch_stream(4, "augment"))(one), one)


def test_augmentation_moves_flips_and_stretches() -> None:
    spot = torch.zeros(1, 1, 16, 16)
    spot[0, 0, 8, 3] = 1
    columns = []
    for stream in range(40):
        moved = augmentation("flip_shift_scale", spot.shape, torch_stream(stream, "a"))(spot)
        columns.append((moved.sum((0, 1, 2)) * torch.arange(16)).sum() / moved.sum())
    found = torch.stack(columns)
    assert found.min() < 3 < 12 < found.max()  # some are mirrored
    assert len(set(found.tolist())) == 40


def test_augmentation_of_a_table_is_refused() -> None:
    with pytest.raises(ValueError, match="needs images"):
        augmentation("shift_scale", torch.Size([2, 5]), torch_stream(0, "a"))


def test_references_train_by_plain_sgd(model, held) -> None:
    from fedsim.clients.sgd import Sgd
    from fedsim.models._state import load_weights, weights_of

    first = weights_of(model)
    instruction = Instruction(1, "train", ClientInfo(4, len(held)), Broadcast(first))
    one = Matching(lr=0.02, epochs=2).train(model, held, instruction, torch_stream(1, "client"))
    load_weights(model, first)
    two = Sgd(lr=0.02, epochs=2).train(model, held, instruction, torch_stream(1, "client"))
    assert all(torch.equal(one.delta[name], two.delta[name]) for name in first)


def test_what_is_shared_is_said() -> None:
    assert Matching(init="noise").notes == ()
    assert "near-copies of real images" in Matching().notes[0]
    assert "real images themselves" in Matching(steps=0).notes[0]
