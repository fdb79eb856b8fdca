"""DP-SGD of clients in the same steps: each gets its own, and no example moves another's."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fedsim.client import Examples, StackedClient
from fedsim.clients.dp_sgd import DpSgd
from fedsim.engine.run import resume_run
from fedsim.errors import RunError
from fedsim.models._state import load_weights, weights_of
from fedsim.models.resnet8_gn import ResNet8GN
from fedsim.per_sample.layers import StackedOuter
from fedsim.per_sample.stacked_dp_sgd import _DpSgdStack
from fedsim.per_sample.stacked_sums import SummedTogether
from fedsim.privacy.parameters import PrivacyParameters
from fedsim.runlog.run_folder import RunFolder
from fedsim.seeds import torch_stream
from fedsim.wire import Broadcast, ClientInfo, Instruction, Update
from tests.privacy.nets import NETS, SHAPE, seeded

CLIP = 0.5
SIZES = [30, 17, 0, 40, 1]


def odd_net() -> nn.Module:
    """Return layers at the edges of what is written out."""
    return nn.Sequential(
        nn.Conv2d(3, 9, (3, 2), stride=(1, 2), padding=(0, 1), bias=False),
        nn.ReLU(),
        nn.MaxPool2d(3, stride=2),
        nn.Conv2d(9, 4, 2, stride=2),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(8, 7, bias=False),
        nn.Tanh(),
        nn.Linear(7, 10),
    )


MODELS = NETS | {"odd": odd_net}


def model_of(name: str) -> nn.Module:
    return seeded(MODELS[name])


def examples(count: int, *where: int) -> Examples:
    generator = torch_stream(5, "examples", *where)
    labels = torch.randint(10, (count,), generator=generator)
    return Examples(torch.randn(count, *SHAPE, generator=generator), labels)


def members(model: nn.Module, sizes: list[int]) -> list[StackedClient]:
    sent, found = Broadcast(weights_of(model)), []
    for client, size in enumerate(sizes):
        memory = {"privacy": {"turns": torch.full((1,), float(client))}}
        instruction = Instruction(2, "train", ClientInfo(client, size), sent, memory)
        found.append(
            StackedClient(examples(size, client), instruction, torch_stream(3, "client", client))
        )
    return found


def private(noise: float = 1.0, **rule: Any) -> Any:
    asked = {"steps": 3, "sample_rate": 0.3, "batch_size": 6, **rule}
    return DpSgd(**asked).under(PrivacyParameters(CLIP, noise, "simulation"))


def both(rule: Any, model: nn.Module, sizes: list[int]) -> tuple[list[Update], list[Update]]:
    """Return the updates one by one and together."""
    weights, alone = weights_of(model), []
    for member in members(model, sizes):
        load_weights(model, weights)
        alone.append(rule.train(model, member.examples, member.instruction, member.generator))
    load_weights(model, weights)
    return alone, rule.train_together(model, members(model, sizes))


@pytest.mark.parametrize("momentum", [0.0, 0.5])
@pytest.mark.parametrize("name", MODELS)
def test_together_is_one_by_one_up_to_rounding(name: str, momentum: float) -> None:
    # Batches of 0 to 20 examples in rows of ten: some take three rows.
    for rate in (0.3, 0.5):
        rule = private(sample_rate=rate, momentum=momentum)
        for one, other in zip(*both(rule, model_of(name), SIZES), strict=True):
            assert (one.client, one.examples, other.metrics) == (other.client, other.examples, {})
            assert one.memory["privacy"]["turns"] == other.memory["privacy"]["turns"]
            assert one.delta.keys() == other.delta.keys()
            size = max(float(tensor.abs().max()) for tensor in one.delta.values())
            for key, delta in one.delta.items():
                assert float((delta - other.delta[key]).abs().max()) <= 1e-4 * size


class Sums:
    """The stack of a few clients with weights of their own, asked for sums over chosen batches."""

    def __init__(self, name: str, sizes: list[int]) -> None:
        model = model_of(name)
        found = SummedTogether.of(model)
        assert isinstance(found, SummedTogether)
        self.summed, self.members = found, members(model, sizes)
        flat = torch.cat([p.detach().flatten() for p in model.parameters()])
        apart = 1 + torch.arange(len(sizes)).unsqueeze(1) / 8
        self.weights = flat * apart
        self.rule = DpSgd(batch_size=6)  # rows of ten

    def of(self, *batches: list[int]) -> list[Tensor]:
        """Return the sums over each client's examples of these numbers."""
        terms = PrivacyParameters(CLIP, 1.0, "simulation")
        stack = _DpSgdStack(self.rule, terms, self.members, self.weights.clone())
        first, places = 0, []
        for member, batch in zip(self.members, batches, strict=True):
            places.append(torch.tensor(batch, dtype=torch.int64) + first)
            first += len(member.examples)
        return list(stack.totals(self.summed, places))


@pytest.mark.parametrize("name", MODELS)
def test_an_examples_share_does_not_depend_on_company_place_or_pass(name: str) -> None:
    sums = Sums(name, [30, 30, 30])
    alone = sums.of([], [7], [])[1]
    assert float(alone.norm()) > 1e-3
    many = list(range(8, 30))
    companies = [  # the other clients' batches, and the client's own around the example
        ([], [3], [], []),
        (list(range(9)), [], [1], list(range(30))),
        ([5], many[:8], [], [5]),
        (many, many[:11], many[11:14], many),  # the example is in a second pass
        (many, many, [1], []),  # and in a third row
        (list(range(30)), [], many, list(range(30))),
    ]
    for first, before, behind, last in companies:
        with_it = sums.of(first, [*before, 7, *behind], last)[1]
        without = sums.of(last, [*before, *behind], [])[1]
        # A share that had moved in its last bit, of float32, would be off by 1e-8.
        assert float((with_it - without - alone).norm()) < 1e-12


def rows(name: str, clients: int, slots: int, at: tuple[int, int]) -> list[Tensor]:
    """Return all that is known of one example's gradient amid others, to the last bit."""
    model, (client, slot) = model_of(name), at
    summed = SummedTogether.of(model)
    assert isinstance(summed, SummedTogether)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()]).expand(clients, -1).clone()
    flat[:client] *= 1.1
    beside, one = examples(clients * slots, *at), examples(1)
    inputs, labels = beside.inputs.view(clients, slots, *SHAPE), beside.labels.view(clients, slots)
    inputs[at], labels[at] = one.inputs[0], one.labels[0]
    found = summed._gradients(summed.split(flat), inputs, labels)
    parts: list[Tensor] = []
    for piece in found.values():
        if isinstance(piece, StackedOuter):
            parts += [piece.errors[at], piece.inputs[at]]
        else:
            few = min(slot, slots - 4)
            parts.append(piece.of(client, slice(few, few + 4))[slot - few].flatten())
    return parts


@pytest.mark.parametrize("size", [(1, 14), (3, 14), (4, 16), (5, 12), (7, 9), (8, 16)], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_an_examples_gradient_is_the_same_bits_in_any_row(name: str, size: tuple[int, int]) -> None:
    (clients, slots), first = size, rows(name, *size, (0, 0))
    for at in [(0, slots - 1), (clients // 2, 1), (clients - 1, 4), (clients - 1, slots - 1)]:
        assert all(map(torch.equal, rows(name, clients, slots, at), first))


@pytest.mark.parametrize("name", ["mlp", "convnet", "wide", "odd"])
def test_hostile_examples_move_their_sum_by_the_clip_and_no_others_at_all(name: str) -> None:
    sums, most = Sums(name, [12, 23, 12]), 0.0
    theirs, mine, generator = list(range(11)), list(range(22)), torch_stream(9, "hostile")
    before = sums.of(theirs, mine, theirs)
    scales = [0.0, 1e-30, 1e-3, 1.0, 1e4, 1e18, 1e30, 3e38, math.nan, math.inf]
    for number in range(40):
        bad = sums.members[1].examples.inputs[22]
        bad.copy_(torch.randn(SHAPE, generator=generator) * scales[number % len(scales)])
        at = number % 23
        after = sums.of(theirs, [*mine[:at], 22, *mine[at:]], theirs)
        most = max(most, float((after[1] - before[1]).norm()))
        assert torch.equal(after[0], before[0])
        assert torch.equal(after[2], before[2])
    assert 0.999 * CLIP < most <= CLIP * (1 + 1e-9)


@pytest.mark.parametrize("name", ["mlp", "lenet"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, 3e38])
def test_a_client_gets_the_same_bits_whatever_another_holds(name: str, bad: float) -> None:
    model, rule = model_of(name), private(sample_rate=0.5)
    usual = rule.train_together(model, members(model, SIZES))
    for held in (examples(60, 9), examples(3, 9), examples(0)):
        there = members(model, SIZES)
        held.inputs[:30] = bad
        there[3] = replace(there[3], examples=held)
        for client, (one, other) in enumerate(
            zip(usual, rule.train_together(model, there), strict=True)
        ):
            assert client == 3 or all(torch.equal(one.delta[k], other.delta[k]) for k in one.delta)
            assert all(bool(torch.isfinite(delta).all()) for delta in other.delta.values())


def test_stacks_larger_than_a_pass_go_in_even_parts() -> None:
    model = model_of("mlp")
    for count in (1, 13, 27):
        assert len(private().train_together(model, members(model, [10] * count))) == count


def test_what_is_not_written_out_says_why() -> None:
    flat, frozen = [nn.Flatten(), nn.Linear(432, 10)], model_of("lenet")
    next(frozen.parameters()).requires_grad_(False)
    for model, why in (
        (ResNet8GN(SHAPE, 10), "ResidualBlock are not written out"),
        (nn.Sequential(nn.Conv2d(3, 3, 3, dilation=2), *flat), "Conv2d are not written out"),
        (nn.Sequential(nn.Linear(12, 12), *flat), "a linear layer before it is flat"),
        (frozen, "is not trained"),
    ):
        with pytest.raises(RunError, match=f"cannot be stacked.*{why}"):
            private().train_together(model, members(model, [5, 5]))


RECORD = {"unit": "record", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-4}
RUN: dict[str, Any] = {
    "privacy": {**RECORD, "rng": "simulation"},
    "local": {"use": "dp_sgd", "steps": 3, "sample_rate": 0.2, "batch_size": 8},
    "clients": {"count": 11, "per_round": 9},
    "rounds": 2,
}


def on(backend: str = "local", **compute: object) -> dict[str, object]:
    return {"backend": backend, "cohort": 4, **compute}


def same(one: Any, other: Any) -> bool:
    return (one.weights_sha256, one.metrics_sha256) == (other.weights_sha256, other.metrics_sha256)


def test_a_stacked_private_run_equals_itself_in_any_chunks(scenario, play) -> None:
    whole = play(scenario(**RUN, compute=on()))
    assert not [note for note in whole.notes if "one by one" in note]
    for chunk in (1, 8):
        assert same(play(scenario(**RUN, compute=on(chunk=chunk))).result, whole.result)
    alone = play(scenario(**RUN))
    for one, other in zip(alone.rounds, whole.rounds, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-4)
        assert (one.bytes_up, one.bytes_down) == (other.bytes_up, other.bytes_down)


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
def test_a_stacked_private_run_equals_itself_on_any_workers(scenario, play) -> None:
    here = play(scenario(**RUN, compute=on())).result
    assert same(play(scenario(**RUN, compute=on("ray", workers=2, chunk=4))).result, here)


def test_a_stacked_private_run_resumes_to_the_same_end(
    scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(**RUN, compute=on())
    whole = play(of)
    for number in range(2, len(whole.events), 2):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        assert same(resume_run(folder, lambda _: None), whole.result)


def test_noise_of_the_system_does_not_keep_clients_from_being_stacked(scenario, play) -> None:
    outcome = play(scenario(**{**RUN, "privacy": {**RECORD, "rng": "secure"}}, compute=on()))
    assert not [note for note in outcome.notes if "one by one" in note]


def test_under_client_level_privacy_none_is_stacked(scenario, play) -> None:
    said = {"unit": "client", "clip": 1.0, "noise_multiplier": 1.0, "delta": 0.01}
    outcome = play(scenario(privacy={**said, "rng": "simulation"}, rounds=1, compute=on(cohort=2)))
    assert [note for note in outcome.notes if "none may know who else takes part" in note]
