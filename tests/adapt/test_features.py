"""Random features: near the kernel, nearer with more of them, and JAN's mean embeddings exact."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from fedsim.adapt.features import JointFeatures, mean_squared_distance, random_features
from fedsim.adapt.joint_matching import moments_of
from fedsim.client import Examples, Unlabelled
from fedsim.clients.joint_embedding import JointEmbedding
from fedsim.models._state import load_weights, weights_of
from fedsim.models.mlp import MLP
from fedsim.seeds import torch_defaults, torch_stream
from fedsim.strategies.iwjan import Iwjan
from fedsim.strategy import Server
from fedsim.wire import ClientInfo, Instruction
from tests.summed import summed

DRAWS = torch.Generator().manual_seed(0)
Z = torch.randn(30, 5, generator=DRAWS, dtype=torch.float64)
P = torch.randn(30, 3, generator=DRAWS, dtype=torch.float64).softmax(dim=1)


def joint_kernel(z: Tensor, p: Tensor, sigma: float) -> Tensor:
    apart, of_p = torch.cdist(z, z).square(), torch.cdist(p, p).square()
    return sum(  # type: ignore[return-value]
        (-apart / (sigma * 2.0**a / 4) - of_p / 1.68).exp() for a in range(5)
    )


def test_the_error_falls_with_the_number_of_features() -> None:
    exact = joint_kernel(Z, P, 10.0)
    errors = []
    for count in (50, 500, 5000):
        made = [JointFeatures(count, 10.0, seed)(Z, P) for seed in range(3)]
        errors.append(sum(float((f @ f.T - exact).abs().mean()) for f in made))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] / 3 < 0.03


def test_each_example_has_the_length_of_its_kernel() -> None:
    assert torch.allclose(JointFeatures(20, 3.0, 1)(Z, P).square().sum(dim=1), 5 + 0 * Z[:, 0])
    assert random_features(Z, torch.ones(5, 7).double()).shape == (30, 14)


def test_the_mean_distance_comes_from_sums() -> None:
    slow = torch.cdist(Z, Z).square().sum() / (30 * 29)
    found = mean_squared_distance(Z.sum(dim=0), float(Z.square().sum()), 30)
    assert found == pytest.approx(float(slow), rel=1e-12)


def test_a_gaussian_discrepancy_by_class_sums_falls_to_the_exact_one() -> None:
    """JDME's rbf form: class sums of random features in place of the kernel matrix."""
    labels, sigma = torch.arange(30) % 3, 8.0
    (x_s, y_s), (x_t, y_t) = (Z[:18], labels[:18]), (Z[18:] + 0.5, labels[18:])
    kernel = (-torch.cdist(torch.cat([x_s, x_t]), torch.cat([x_s, x_t])).square() / sigma).exp()
    sign = torch.cat([torch.full((18,), 1 / 18), torch.full((12,), -1 / 12)]).double()
    same = torch.cat([y_s, y_t])[:, None] == torch.cat([y_s, y_t])
    exact = float(sign @ (kernel * same) @ sign)
    errors = []
    for m in (30, 1000):
        found = []
        for seed in range(5):
            drawn = torch.randn(5, m, generator=torch_stream(seed, "w"), dtype=torch.float64)
            means = [
                moments_of(random_features(x, drawn * (2 / sigma) ** 0.5), y, 3).sums / len(x)
                for x, y in ((x_s, y_s), (x_t, y_t))
            ]
            found.append(float((means[0] - means[1]).square().sum()))
        errors.append(sum(abs(value - exact) for value in found))
    assert errors[1] < errors[0] / 2


INFOS = [
    ClientInfo(0, 20, "a", "source"),
    ClientInfo(1, 7, "a", "source"),
    ClientInfo(2, 15, "b", "target"),
]


def test_the_federated_loss_is_the_pooled_one_of_the_same_features() -> None:
    """Means that clients send come to those of the pool, weights by class included."""
    rule = Iwjan(iw_start=1, shrink=1.0, average=0.0, features=16)
    with torch_defaults(0, "model"):
        model = MLP((4,), 3, hidden=(6,)).double()
    held = {}
    for info in INFOS:
        labels = torch.arange(info.examples) % 3
        inputs = Z[: info.examples, :4] + labels[:, None] + info.id
        held[info.id] = Unlabelled(inputs) if info.role == "target" else Examples(inputs, labels)
    state = replace(rule.begin(weights_of(model), INFOS), round=1)
    for phase in rule.phases()[:-1]:
        state, updates = replace(state, phase=phase), []
        for info in INFOS:
            load_weights(model, state.weights)
            instruction = Instruction(1, phase, info, rule.broadcast(state, info))
            verb = getattr(JointEmbedding(), phase)
            updates.append(verb(model, held[info.id], instruction, torch.Generator()))
        state = rule.step(state, summed(rule, updates, INFOS), Server(model, torch.Generator()))
    sent = rule.broadcast(replace(state, phase="train"), INFOS[2])
    features = JointFeatures(16, float(sent.settings["bandwidth"]), int(sent.settings["seed"]))
    x = torch.cat([held[0].inputs, held[1].inputs])
    y = torch.cat([held[0].labels, held[1].labels])
    ratios = rule.broadcast(replace(state, phase="train"), INFOS[0]).extras["ratios"]["domain"]
    z = model.features(x)
    made = features(z, model.head(z).softmax(dim=1)) * ratios[y][:, None]
    assert torch.allclose(sent.extras["other"]["mean"], made.mean(dim=0), atol=1e-12)


@pytest.mark.parametrize("name", ["jan", "iwjan", "dmpn"])
def test_every_method_runs_by_its_name(name: str, two_domains, play) -> None:
    run = play(two_domains(strategy={"use": name, "warm_up": 0}, rounds=2))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.1


def test_the_weighted_distance_of_means_is_the_double_loop_over_pairs() -> None:
    """IWJAN's distance, pair by pair with the same features' inner products as kernel."""
    made = JointFeatures(6, 4.0, 2)(Z, P)
    counts = (torch.arange(18) % 3 + 0.5).double()
    means = (made[:18] * counts[:, None]).mean(dim=0), made[18:].mean(dim=0)
    sign = torch.cat([counts / 18, -torch.ones(12, dtype=torch.float64) / 12])
    slow = 0.0
    for i in range(30):
        for j in range(30):
            slow += float(sign[i] * sign[j] * (made[i] @ made[j]))
    assert float((means[0] - means[1]).square().sum()) == pytest.approx(slow, abs=1e-12)
