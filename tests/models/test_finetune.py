"""Start weights, frozen parts and low-rank adapters: what is trained, and what travels."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from fedsim.data.federated import prepare
from fedsim.engine.estimate import estimate
from fedsim.engine.run import resume_run
from fedsim.errors import ScenarioError
from fedsim.export.deployed import model_of
from fedsim.models._finetune import fine_tuned
from fedsim.models._lora import Adapter, merge_adapters
from fedsim.models._scenario_model import scenario_model
from fedsim.models._state import exchanged_names, mark_exchanged, weights_of
from fedsim.runtime.host import Host
from fedsim.scenario.load import load
from fedsim.schema.finetune import FineTune, LowRank
from fedsim.schema.scenario import Scenario
from fedsim.seeds import torch_defaults
from fedsim.wire import Broadcast, Instruction
from tests.conftest import SMALL, Make, Outcome

Play = Callable[[Scenario], Outcome]
BODY = ["body.1.weight", "body.1.bias"]
HEAD = ["head.weight", "head.bias"]


class Net(nn.Module):
    """Has a layer of each kind that an adapter can be of, and a batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.words = nn.Embedding(9, 6)
        self.head = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        pooled = self.norm(self.conv(inputs)).mean((2, 3))
        logits: Tensor = self.head(pooled + self.words.weight.mean(0))
        return logits


def net_of(**keys: Any) -> tuple[nn.Module, frozenset[str]]:
    with torch_defaults(0, "test"):
        model = Net()
        return model, fine_tuned(model, FineTune.model_validate(keys))


# -- what is trained ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "trained"),
    [
        ({"train": ["head.*"]}, HEAD),
        ({"train": ["head.bias", "conv.*"]}, ["conv.weight", "conv.bias", "head.bias"]),
        ({"freeze": ["conv.*", "norm.*", "words.*"]}, HEAD),
        ({"freeze": ["*.weight"]}, ["conv.bias", "norm.bias", "head.bias"]),
    ],
)
def test_patterns_say_what_is_trained(keys: dict[str, Any], trained: list[str]) -> None:
    model, _ = net_of(**keys)
    assert [name for name, p in model.named_parameters() if p.requires_grad] == trained
    statistics = {"norm.running_mean", "norm.running_var"}
    assert set(exchanged_names(model)) - statistics == set(trained)


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ({"train": ["haed.*"]}, "finetune.train[0]: no parameter is called 'haed.*'"),
        ({"freeze": ["*"]}, "nothing is left to train"),
        ({"lora": {"on": ["bdy"]}}, "no linear, convolution or embedding layer is called 'bdy'"),
        ({"lora": {"rank": 4}}, "rank 4 is more than the 3 of head"),
    ],
)
def test_a_pattern_of_nothing_is_a_fault(keys: dict[str, Any], fault: str) -> None:
    with pytest.raises(ScenarioError, match=re.escape(fault)):
        net_of(**keys)


def test_frozen_batch_norm_normalises_by_the_statistics_that_it_has() -> None:
    model, constant = net_of(batch_norm="frozen")
    mark_exchanged(model, constant)
    names = exchanged_names(model)
    assert "norm.weight" in names
    assert not any("running" in name for name in names)
    for trained in (model, copy.deepcopy(model)):
        before = {name: value.clone() for name, value in trained.state_dict().items()}
        trained.train()(torch.randn(8, 2, 5, 5))
        assert all(torch.equal(before[n], v) for n, v in trained.state_dict().items())
        training = {name for name, module in trained.named_modules() if module.training}
        assert training == {"", "conv", "words", "head"}


def test_averaged_batch_norm_sends_its_statistics_and_no_count() -> None:
    names = exchanged_names(net_of()[0])
    assert {"norm.running_mean", "norm.running_var"} < set(names)
    assert "norm.num_batches_tracked" not in names


# -- low-rank adapters ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["mean", "ffa", "exact"])
def test_training_starts_from_the_weights_and_adapters_alone_are_trained(mode: str) -> None:
    inputs = torch.randn(4, 2, 5, 5)
    plain, _ = net_of()
    model, _ = net_of(lora={"rank": 2, "on": ["conv", "words", "head"], "aggregate": mode})
    assert torch.equal(plain.eval()(inputs), model.eval()(inputs))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    ends = (".lora_b",) if mode == "ffa" else (".lora_a", ".lora_b")
    layers = ("conv", "words", "head")
    assert trained == {f"{x}.parametrizations.weight.0{end}" for x in layers for end in ends}


def test_an_adapter_is_equation_3_of_the_paper() -> None:
    layer, x = nn.Linear(20, 12), torch.randn(7, 20)
    adapter = Adapter(layer.weight, LowRank(rank=3, alpha=6.0))
    nn.init.normal_(adapter.lora_b)
    wanted = layer(x) + 6.0 / 3 * (x @ adapter.lora_a.T) @ adapter.lora_b.T
    seen = nn.functional.linear(x, adapter(layer.weight), layer.bias)
    assert torch.allclose(seen, wanted, atol=1e-5)
    conv, picture = nn.Conv2d(2, 6, 3), torch.randn(1, 2, 8, 8)
    narrow = Adapter(conv.weight, LowRank(rank=3, alpha=6.0))
    nn.init.normal_(narrow.lora_b)
    first = nn.functional.conv2d(picture, narrow.lora_a.view(3, 2, 3, 3))
    both = nn.functional.conv2d(first, narrow.lora_b.view(6, 3, 1, 1))
    seen = nn.functional.conv2d(picture, narrow(conv.weight), conv.bias)
    assert torch.allclose(seen, conv(picture) + 2.0 * both, atol=1e-5)


def test_merged_adapters_leave_the_names_and_the_outputs_as_they_were() -> None:
    model, _ = net_of(lora={"rank": 2, "on": ["conv", "head"]})
    for name, parameter in model.named_parameters():
        if name.endswith("lora_b"):
            nn.init.normal_(parameter)
    inputs = torch.randn(4, 2, 5, 5)
    before = model.eval()(inputs)
    merged = merge_adapters(model)
    assert merged.state_dict().keys() == Net().state_dict().keys()
    assert torch.allclose(merged(inputs), before, atol=1e-6)


def test_tied_layers_get_no_adapter() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    with pytest.raises(ScenarioError, match=r"0.weight and 1.weight are tied"):
        fine_tuned(model, FineTune(lora=LowRank(rank=2)))


def test_rank_8_of_a_square_layer_sends_a_sixteenth(scenario: Make, tmp_path: Path) -> None:
    (tmp_path / "square.py").write_text(
        "from torch import nn\n\n\nclass Square(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, 256), nn.Linear(256, 256),"
        " nn.Linear(256, classes))\n"
    )
    lora = {"rank": 8, "on": ["2"]}
    plan = estimate(scenario(model="./square.py:Square", finetune={"lora": lora}, rounds=1))
    assert 4 * plan.parameters == 16_384
    assert 16_384 <= plan.bytes_up / 6 <= 16_384 + 8_192


MODES = ("mean", "ffa", "exact")


@pytest.mark.parametrize("mode", MODES)
def test_one_client_is_central_training(mode: str, scenario: Make, play: Play) -> None:
    """With one client the factors' means are its own: in all modes but ffa the same run."""
    keys = {"lora": {"rank": 4, "aggregate": mode}}
    outcome = play(scenario(clients={"count": 1}, finetune=keys, rounds=2, data=IID))
    weights = load_file(outcome.folder.path / "model.safetensors")
    residuals = [value for name, value in weights.items() if name.endswith("lora_residual")]
    assert len(residuals) == (2 if mode == "exact" else 0)
    assert all(not residual.any() for residual in residuals)
    if mode == "exact":
        other = play(scenario(clients={"count": 1}, finetune=LORA, rounds=2, data=IID))
        mean = load_file(other.folder.path / "model.safetensors")
        assert all(torch.equal(value, weights[name]) for name, value in mean.items())


IID = {"source": "digits", "partition": "iid"}
LORA = {"lora": {"rank": 4, "aggregate": "mean"}}


@pytest.mark.parametrize(("mode", "most"), [("mean", None), ("ffa", 1e-6), ("exact", 1e-6)])
def test_the_mean_of_the_clients_products(
    mode: str, most: float | None, scenario: Make, play: Play
) -> None:
    """Ten clients apart, each a run of its own, against the ten together."""
    keys = {"lora": {"rank": 4, "aggregate": mode}}
    count = 10
    data = {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.3}}
    of = scenario(clients={"count": count}, finetune=keys, rounds=1, data=data, local=STRONG)
    together = load_file(play(of).folder.path / "model.safetensors")
    prepare(of, of.folder / "store")
    worker = Host(of, of.folder / "store", "cpu").worker
    sent = Broadcast(worker.initial)
    infos = worker.data.clients
    updates = [worker.turn(Instruction(1, "train", info, sent)) for info in infos]
    total = sum(update.examples for update in updates)
    (stem,) = {name.rpartition(".")[0] for name in sent.weights if name.startswith("head")}
    fixed = dict(worker.model.state_dict())
    a, b = (sent.weights.get(f"{stem}.lora_{x}", fixed[f"{stem}.lora_{x}"]) for x in "ab")
    mean = torch.zeros(10, a.shape[1], dtype=torch.float64)
    for update in updates:
        a_i = a.double() + update.delta.get(f"{stem}.lora_a", torch.zeros(())).double()
        b_i = b.double() + update.delta[f"{stem}.lora_b"].double()
        mean += update.examples / total * (b_i @ a_i)
    got = together[f"{stem}.lora_b"].double() @ together.get(f"{stem}.lora_a", a).double()
    if mode == "exact":
        got = got + together[f"{stem}.lora_residual"].double() / 4.0
    error = float((got - mean).norm() / mean.norm())
    if most is None:
        assert error > 1e-2
    else:
        assert error < most


STRONG = {"lr": 0.05, "epochs": 4}


@pytest.mark.parametrize("mode", MODES)
def test_adapters_give_the_same_bits_on_ray_and_after_a_resume(
    mode: str, scenario: Make, play: Play, ray_session: None, tmp_path: Path
) -> None:
    keys = {"lora": {"rank": 4, "aggregate": mode}, "train": ["head.bias"]}
    here = play(scenario(finetune=keys, rounds=3))
    ray = play(scenario(finetune=keys, rounds=3, compute={"backend": "ray", "workers": 2}))
    assert here.result.weights_sha256 == ray.result.weights_sha256
    assert here.result.metrics_sha256 == ray.result.metrics_sha256
    folder = here.folder
    (folder.path / "result.json").unlink()
    newest = max(folder.checkpoints.iterdir(), key=lambda path: path.name)
    newest.unlink() if newest.is_file() else None
    assert resume_run(folder, lambda _: None).weights_sha256 == here.result.weights_sha256


def test_a_run_with_adapters_comes_out_as_a_plain_model(scenario: Make, play: Play) -> None:
    outcome = play(scenario(finetune={"lora": {"rank": 4, "aggregate": "exact"}}, rounds=2))
    model = model_of(outcome.folder)
    assert set(model.state_dict()) == {*BODY, *HEAD}


# -- start weights --------------------------------------------------------------------------------


def test_a_run_starts_where_another_one_ended(scenario: Make, play: Play, tmp_path: Path) -> None:
    first = play(scenario(rounds=2))
    warm = scenario(finetune={"weights": str(first.folder.path)}, rounds=1)
    model = scenario_model(warm, (64,), 10)
    stored = load_file(first.folder.path / "model.safetensors")
    assert all(torch.equal(stored[name], value) for name, value in weights_of(model).items())
    second = play(warm)
    assert second.result.metrics["accuracy"] > first.rounds[0].metrics["accuracy"]
    written = load(second.folder.scenario)
    assert written.finetune is not None
    assert written.finetune.sha256 is not None


def test_a_weights_file_that_changed_stops_a_resumed_run(scenario: Make, play: Play) -> None:
    first = play(scenario(rounds=1))
    outcome = play(scenario(finetune={"weights": str(first.folder.path)}, rounds=1))
    save_file({"other": torch.zeros(1)}, first.folder.path / "model.safetensors")
    (outcome.folder.path / "result.json").unlink()
    with pytest.raises(ScenarioError, match="the file has changed"):
        resume_run(outcome.folder, lambda _: None)


def file_with(tmp_path: Path, state: dict[str, Tensor], name: str = "start.pt") -> str:
    torch.save(state, tmp_path / name)
    return str(tmp_path / name)


def state_of() -> dict[str, Tensor]:
    return {k: v.clone() for k, v in Net().state_dict().items()}


def test_a_state_dict_is_read_renamed_cast_and_lacks_what_is_allowed(tmp_path: Path) -> None:
    state = {f"backbone.{name}": value for name, value in Net().double().state_dict().items()}
    del state["backbone.norm.num_batches_tracked"]
    state["backbone.head.weight"] = torch.zeros(1000, 6)
    state["backbone.head.bias"] = torch.zeros(1000)
    file = file_with(tmp_path, {"state_dict": state})  # type: ignore[dict-item]
    keys = {"weights": file, "rename": {"backbone.*": "*"}}
    with pytest.raises(ScenarioError, match=r"head.weight has the shape \(1000, 6\)"):
        net_of(**keys)
    model, _ = net_of(**keys, allow=["head.*"], train=["head.*"])
    conv = state["backbone.conv.weight"].float()
    assert torch.equal(model.state_dict()["conv.weight"], conv)
    assert model.state_dict()["head.weight"].any()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda s: s.pop("conv.bias"), "the file lacks conv.bias"),
        (lambda s: s.update(more=torch.zeros(1)), "the file has more, which the model has not"),
        (lambda s: s.update(more=3), "holds no state dict"),
    ],
)
def test_other_names_are_faults(change: Any, fault: str, tmp_path: Path) -> None:
    state = state_of()
    change(state)
    with pytest.raises(ScenarioError, match=fault):
        net_of(weights=file_with(tmp_path, state))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("a.safetensors", b"no", "a.safetensors cannot be read"),
        ("a.pt", b"no", "a.pt cannot be read"),
        ("a.txt", b"no", "a.txt is no run's folder, .safetensors, .pt, .pth or .bin file"),
    ],
)
def test_a_file_that_holds_no_weights(
    name: str, content: bytes, fault: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ScenarioError, match=fault):
        net_of(weights=str(tmp_path / name))


def test_a_file_that_runs_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path(tmp_path / "ran").touch, ())

    torch.save({"weight": Evil()}, tmp_path / "evil.pt")
    with pytest.raises(ScenarioError, match=r"evil.pt cannot be read"):
        net_of(weights=str(tmp_path / "evil.pt"))
    assert not (tmp_path / "ran").exists()


# -- between the keys -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sections", "key", "fault"),
    [
        ({"finetune": {"weights": "none.pt"}}, "finetune.weights", "no file or run's folder"),
        ({"finetune": {"allow": ["x"]}}, "finetune.allow", "is of the file finetune.weights"),
        ({"finetune": {"train": ["a"], "freeze": ["b"]}}, "finetune.freeze", "not both"),
        ({"finetune": {"lora": {}, "freeze": ["b"]}}, "finetune.freeze", "beside lora"),
        (
            {"finetune": {"lora": {"aggregate": "exact"}}, "strategy": "fedadam"},
            "finetune.lora.aggregate",
            "exact is for fedavg and fedprox alone",
        ),
        ({"finetune": {"lora": {"rnak": 8}}}, "finetune.lora.rnak", "unknown key"),
    ],
)
def test_keys_that_do_not_fit(
    sections: dict[str, Any], key: str, fault: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **sections}))
    with pytest.raises(ScenarioError) as error:
        load(path)
    assert key in [f.key for f in error.value.faults]
    assert fault in str(error.value)
