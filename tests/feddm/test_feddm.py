"""The server of FedDM: the union of the clients' sets, training on it, and whole runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fedsim.engine.run import resume_run
from fedsim.errors import QuorumLost, RunError
from fedsim.models._state import weights_of
from fedsim.models.mlp import MLP
from fedsim.runlog import checkpoint
from fedsim.runlog.events import Note
from fedsim.runlog.run_folder import RunFolder
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies.feddm import FedDM
from fedsim.strategy import Server, ServerState
from fedsim.wire import Update, Weights

LOCAL = {"images_per_class": 2, "steps": 2, "real_batch": 16}
SMALL = {
    "rounds": 3,
    "clients": {"count": 4},
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.2}},
    "model": {"use": "convnet", "width": 4, "depth": 1},
    "local": LOCAL,
    "strategy": {"use": "feddm", "epochs": 2, "replay": 1},
}


def update(client: int, images: int, **columns: torch.Tensor) -> Update:
    generator = torch_stream(client, "set")
    sent: Weights = {
        "images": torch.randn(images, 4, generator=generator),
        "labels": (torch.arange(images) % 3).to(torch.uint8),
        **columns,
    }
    return Update(client, {}, images, {}, {"synthetic": sent})


def stepped(strategy: FedDM, state: ServerState, updates: list[Update], stream: int = 0):
    model = MLP((4,), 3, hidden=(6,))
    server = Server(model, torch_stream(stream, "server", state.round))
    return strategy.step(state, strategy.aggregate(updates), server)


@pytest.fixture
def first() -> ServerState:
    with torch_defaults(0, "model"):
        return ServerState(weights_of(MLP((4,), 3, hidden=(6,))), 3, round=1, phase="match")


def bits(weights: Weights) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in weights.items()}


def test_the_union_is_ragged_and_in_the_order_of_clients() -> None:
    updates = [update(8, 4), update(0, 0), update(3, 6)]
    union = FedDM().aggregate(updates).means["synthetic"]
    assert union["client"].tolist() == [3] * 6 + [8] * 4
    assert union["labels"].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    assert union["weight"].tolist() == [1] * 10
    assert bits(union) == bits(FedDM().aggregate(updates[::-1]).means["synthetic"])


def test_training_is_torch_sgd_on_the_union(first) -> None:
    updates = [update(0, 5), update(1, 7)]
    strategy = FedDM(epochs=3, batch_size=5, lr=0.05, momentum=0.9, weight_decay=1e-3)
    after = stepped(strategy, first, updates).weights
    union = strategy.aggregate(updates).means["synthetic"]
    model, generator = MLP((4,), 3, hidden=(6,)), torch_stream(0, "server", 1)
    model.load_state_dict(first.weights)
    sgd = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    torch.randint(2**31, (), generator=generator)  # what layers that draw are seeded with
    for _ in range(3):
        for batch in torch.split(torch.randperm(12, generator=generator), 5):
            sgd.zero_grad()
            logits = model(union["images"][batch])
            torch.autograd.backward(
                torch.nn.functional.cross_entropy(logits, union["labels"][batch])
            )
            sgd.step()
    for name, tensor in weights_of(model).items():
        assert torch.allclose(after[name], tensor, atol=1e-6), name


def test_training_is_a_function_of_the_stream_and_the_sets(first) -> None:
    updates, strategy = [update(0, 5), update(1, 7)], FedDM(epochs=2, batch_size=4)
    one, same = (stepped(strategy, first, some).weights for some in (updates, updates[::-1]))
    assert bits(one) == bits(same)
    assert bits(one) != bits(stepped(strategy, first, updates, stream=1).weights)


def test_a_weight_counts_as_that_many_images(first) -> None:
    """Full batches without momentum: an image of weight two is the image twice."""
    strategy = FedDM(epochs=1, batch_size=64, momentum=0.0, weighting="examples")
    heavy = update(0, 3, weight=torch.tensor([2.0, 1.0, 1.0]))
    images, labels = heavy.extras["synthetic"]["images"], torch.tensor([0, 0, 1, 2])
    twice = Update(0, {}, 4, {}, {"synthetic": {"images": images[labels], "labels": labels}})
    one, two = (stepped(strategy, first, [some]).weights for some in (heavy, twice))
    assert all(torch.allclose(one[name], two[name], atol=1e-7) for name in one)


def test_nothing_sent_moves_nothing(first) -> None:
    after = stepped(FedDM(), first, [update(0, 0), update(2, 0)])
    assert bits(after.weights) == bits(first.weights)
    assert len(after.memory["synthetic"]["labels"]) == 0


@pytest.mark.parametrize(("replay", "kept"), [(0, [3]), (1, [2, 3]), (5, [1, 2, 3])])
def test_replay_keeps_so_many_earlier_rounds(replay, kept, first) -> None:
    state, strategy = first, FedDM(epochs=1, replay=replay)
    for number in (1, 2, 3):
        state = stepped(strategy, replace(state, round=number), [update(number, 3)])
    union = state.memory["synthetic"]
    assert union["round"].tolist() == [r for r in kept for _ in range(3)]
    assert union["client"].tolist() == union["round"].tolist()  # here they are the same
    assert set(strategy.pictures(state)["round"].tolist()) == {3}


def test_what_is_no_set_is_refused_by_the_client_s_name() -> None:
    with pytest.raises(RunError, match=r"client 5 sent no 'synthetic': .*use: matching"):
        FedDM().aggregate([Update(5, {}, 1)])
    with pytest.raises(RunError, match="client 5: its synthetic set lacks labels"):
        FedDM().aggregate([Update(5, {}, 1, {}, {"synthetic": {"images": torch.zeros(1, 4)}})])
    with pytest.raises(RunError, match="client 5: 3 images, labels of shape"):
        FedDM().aggregate([update(5, 3, labels=torch.zeros(2).long())])


@pytest.fixture(scope="module")
def shared() -> dict[str, str]:
    return {}


@pytest.mark.parametrize("chunk", [1, 3, 4])
def test_chunks_change_nothing(chunk, scenario, play, shared) -> None:
    result = play(scenario(**SMALL, compute={"backend": "local", "chunk": chunk})).result
    assert shared.setdefault("weights", result.weights_sha256) == result.weights_sha256
    assert shared.setdefault("metrics", result.metrics_sha256) == result.metrics_sha256


def test_a_run_killed_anywhere_resumes_to_the_same_end(
    scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(**{**SMALL, "rounds": 2, "references": ["local"]})
    whole = play(of)
    drawn = pictures(whole.folder)
    assert len(drawn) == 2
    for number in range(1, len(whole.events)):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        result = resume_run(folder, lambda event: None)
        assert result.weights_sha256 == whole.result.weights_sha256, number
        assert result.metrics_sha256 == whole.result.metrics_sha256, number
        assert result.references == whole.result.references, number
        assert pictures(folder) == drawn, number


def pictures(folder: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder.path / "pictures").iterdir()}


def test_the_log_says_what_is_shared(scenario, play) -> None:
    said = play(scenario(**{**SMALL, "rounds": 1}))
    assert [event.text for event in said.events if isinstance(event, Note)] == [
        "clients share near-copies of real images with the server (init: real)"
    ]
    assert "near-copies" in (Path(said.folder.path) / "events.log").read_text()
    quiet = {**SMALL, "rounds": 1, "local": {**LOCAL, "init": "noise"}}
    assert play(scenario(**quiet)).notes == []


def test_bytes_are_images_and_labels_and_little_else(scenario, play) -> None:
    local = {**LOCAL, "coding": "uint8", "steps": 0}
    outcome = play(scenario(**{**SMALL, "rounds": 1, "local": local}))
    saved, _ = checkpoint.newest(outcome.folder.checkpoints)
    assert saved is not None
    images = len(saved.memory["synthetic"]["labels"])
    assert 0 < outcome.result.bytes_up - images * (64 + 1) < 4 * 1024


def test_a_client_with_nothing_to_send_is_no_failure(scenario, play) -> None:
    local = {**LOCAL, "min_examples": 100}
    outcome = play(scenario(**{**SMALL, "rounds": 1, "local": local}))
    assert outcome.result.dropped == 0


def test_a_model_that_cannot_be_matched_on_stops_the_run_with_the_reason(
    scenario, play, tmp_path
) -> None:
    (tmp_path / "flat.py").write_text(
        "from torch import nn\n\n\n"
        "class Flat(nn.Module):\n"
        "    def __init__(self, shape, classes):\n"
        "        super().__init__()\n"
        "        self.all = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))\n\n"
        "    def forward(self, x):\n"
        "        return self.all(x)\n"
    )
    with pytest.raises(
        QuorumLost, match=r"matching needs a model with features\(x\) and head\(z\)"
    ):
        play(scenario(**{**SMALL, "model": "./flat.py:Flat"}))
