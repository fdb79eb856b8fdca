"""JDME in class moments: the same discrepancy, slope and subspace as from everyone's examples."""

from __future__ import annotations

import numpy as np
import pymanopt
import pytest
import torch
from torch import Tensor

from fedsim.adapt.grassmann import descend, retract
from fedsim.adapt.joint_matching import (
    Moments,
    discrepancy,
    moments_of,
    principal,
    ridge_head,
    subspace,
    unit_rows,
)
from fedsim.adapt.joint_matching_random import RandomEmbedding, random_gap
from fedsim.data.federated import prepare
from fedsim.errors import RunError
from fedsim.runlog.checkpoint import newest
from fedsim.scenario.load import load

CLASSES, WIDTH = 4, 7


def domain(seed: int, n: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(
        CLASSES - seed % 2, (n,), generator=generator
    )  # a target may lack a class
    rows = torch.randn(n, WIDTH, generator=generator, dtype=torch.float64)
    rows[:, 0] += labels
    return unit_rows(rows + seed), labels


SOURCE, TARGET = domain(0, 60), domain(1, 45)


def slow(basis: Tensor, kernel: str, labels: str = "official") -> Tensor:
    """Return the discrepancy from the kernel matrices, as the authors' code does."""
    (x_s, y_s), (x_t, y_t) = SOURCE, TARGET
    z = torch.cat([x_s, x_t]) @ basis
    y = torch.cat([y_s, y_t])
    ones = torch.ones(105, dtype=torch.float64)
    sign = torch.cat([ones[:60] / 60, -ones[60:] / 45])
    sizes = [np.bincount(part, minlength=CLASSES) for part in (y_s.numpy(), y_t.numpy())]
    rarity = [n / sizes[k][part] for k, (n, part) in enumerate(((60, y_s), (45, y_t)))]
    r = torch.from_numpy(np.concatenate(rarity))
    own = {"joint": 1.0, "balanced": 0.0}.get(labels, 1.0)
    alike = {"joint": 0.0, "balanced": 1.0}.get(labels, 1.0)
    of_labels = (y[:, None] == y) * (own + alike * torch.outer(r, r))
    inner = z @ z.T
    of_rows = inner if kernel == "linear" else (inner + 1) ** 2
    return sign @ (of_rows * of_labels) @ sign


def both() -> tuple[Moments, Moments]:
    return moments_of(*SOURCE, CLASSES), moments_of(*TARGET, CLASSES)


def some_basis(dimensions: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(9)
    drawn = torch.randn(WIDTH, dimensions, generator=generator, dtype=torch.float64)
    return retract(drawn, torch.zeros_like(drawn))


@pytest.mark.parametrize("labels", ["official", "joint", "balanced"])
@pytest.mark.parametrize("kernel", ["poly", "linear"])
def test_moments_give_the_discrepancy_and_slope_of_the_kernel_matrix(kernel, labels) -> None:
    gap, basis = discrepancy(*both(), labels, kernel), some_basis().requires_grad_()
    expected = slow(basis, kernel, labels)
    expected.backward()  # type: ignore[no-untyped-call]
    assert basis.grad is not None
    with torch.no_grad():
        assert gap(basis) == pytest.approx(float(expected), abs=1e-12)
        assert float((gap.slope(basis) - basis.grad).abs().max()) < 1e-12


def test_the_subspace_after_five_steps_is_that_of_the_kernel_matrix() -> None:
    def slope(basis: Tensor) -> Tensor:
        leaf = basis.clone().requires_grad_()
        slow(leaf, "poly").backward()  # type: ignore[no-untyped-call]
        return leaf.grad  # type: ignore[return-value]

    source, target = both()
    start = principal(source + target, 3)
    central = descend(start, lambda basis: float(slow(basis, "poly")), slope, 5)
    gap = discrepancy(source, target)
    federated = subspace(start, gap, 5)
    assert float((central - federated).abs().max()) < 1e-10
    assert gap(federated) < gap(start)


def test_clients_moments_add_up_to_their_domain_s() -> None:
    rows, labels = SOURCE
    parts = [
        moments_of(rows[some], labels[some], CLASSES) for some in (slice(0, 20), slice(20, 60))
    ]
    summed, whole = parts[0] + parts[1], moments_of(rows, labels, CLASSES)
    for name in ("counts", "sums", "squares"):
        assert torch.allclose(getattr(summed, name), getattr(whole, name), atol=1e-12)


def test_what_is_packed_comes_back_whole() -> None:
    source, _ = both()
    again = Moments.unpacked(source.packed())
    assert torch.equal(again.squares, source.squares)
    assert source.packed()["squares"].shape == (CLASSES, WIDTH * (WIDTH + 1) // 2)


def test_the_start_is_the_pooled_rows_principal_directions() -> None:
    rows = torch.cat([SOURCE[0], TARGET[0]])
    centred = rows - rows.mean(dim=0)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    start = principal(both()[0] + both()[1], 3)
    assert torch.allclose(start @ start.T, right[:3].T @ right[:3], atol=1e-10)
    with pytest.raises(ValueError, match="8 dimensions of 7 features"):
        principal(both()[0], 8)


def test_equal_domains_have_no_discrepancy() -> None:
    source, _ = both()
    gap = discrepancy(source, source)
    assert gap(some_basis()) == pytest.approx(0, abs=1e-15)
    assert torch.equal(subspace(some_basis(), gap, 5), some_basis())


def test_the_moment_head_is_ridge_regression_on_the_rows() -> None:
    rows, labels = SOURCE
    basis = some_basis()
    weight, bias = ridge_head(both()[0], basis, ridge=1e-9)
    z = torch.cat([rows @ basis, torch.ones(60, 1, dtype=torch.float64)], dim=1)
    expected = torch.linalg.lstsq(z, torch.nn.functional.one_hot(labels, CLASSES).double()).solution
    assert torch.allclose(torch.cat([weight, bias[:, None]], dim=1).T, expected, atol=1e-6)


def test_the_descent_is_pymanopt_s() -> None:
    gap, start = discrepancy(*both()), some_basis()
    manifold = pymanopt.manifolds.Grassmann(WIDTH, 3)

    @pymanopt.function.numpy(manifold)
    def cost(basis):
        return gap(torch.from_numpy(basis))

    @pymanopt.function.numpy(manifold)
    def slope(basis):
        return gap.slope(torch.from_numpy(basis)).numpy()

    problem = pymanopt.Problem(manifold, cost, euclidean_gradient=slope)
    theirs = pymanopt.optimizers.SteepestDescent(max_iterations=5, verbosity=0).run(
        problem, initial_point=start.numpy()
    )
    ours = subspace(start, gap, 5)
    assert gap(ours) == pytest.approx(theirs.cost, rel=1e-6)


SMALL = {
    "model": {"use": "projected", "dimensions": 10},
    "local": {},
    "rounds": 2,
}


@pytest.mark.parametrize("head", ["svm", "moment"])
def test_a_run_finds_a_subspace_and_a_head(head: str, two_domains, play) -> None:
    run = play(two_domains(**SMALL, strategy={"use": "jdme", "final_head": head}))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.6
    # The sources' moments travel once, the targets' in every round.
    first, second = (record.bytes_up for record in run.rounds)
    assert second < 0.6 * first


def exact_gap(basis: Tensor, bandwidth: float) -> float:
    """Return the discrepancy with a Gaussian kernel, from the kernel matrix."""
    (x_s, y_s), (x_t, y_t) = SOURCE, TARGET
    z, y = torch.cat([x_s, x_t]) @ basis, torch.cat([y_s, y_t])
    ones = torch.ones(105, dtype=torch.float64)
    sign = torch.cat([ones[:60] / 60, -ones[60:] / 45])
    counts = [torch.bincount(part, minlength=CLASSES) for part in (y_s, y_t)]
    rarity = torch.cat([60 / counts[0][y_s], 45 / counts[1][y_t]]).double()
    of_labels = (y[:, None] == y) * (1 + torch.outer(rarity, rarity))
    kernel = (-torch.cdist(z, z).square() / bandwidth).exp()
    return float(sign @ (kernel * of_labels) @ sign)


def random_gap_of(basis: Tensor, embed: RandomEmbedding) -> tuple[float, Tensor]:
    """Return the discrepancy and its slope, each domain's share computed apart."""
    source, target = (embed.class_sums(*domain, basis, CLASSES) for domain in (SOURCE, TARGET))
    value, *pulls = random_gap(source, target)
    slopes = [embed.slope(*d, basis, pull) for d, pull in zip((SOURCE, TARGET), pulls, strict=True)]
    return value, slopes[0] + slopes[1]


def test_random_features_come_nearer_the_gaussian_kernel_the_more_there_are() -> None:
    basis, exact = some_basis(), exact_gap(some_basis(), 0.5)
    errors = {
        m: np.mean(
            [abs(random_gap_of(basis, RandomEmbedding(m, 0.5, s))[0] - exact) for s in range(6)]
        )
        for m in (30, 300, 3000)
    }
    assert errors[3000] < errors[300] < errors[30]
    assert errors[3000] < 0.02 * exact


def test_the_slope_that_clients_add_up_is_that_of_the_random_discrepancy() -> None:
    basis, embed = some_basis(), RandomEmbedding(40, 0.5, seed=3)
    _, slope = random_gap_of(basis, embed)
    for at in ((0, 0), (3, 2), (6, 1)):
        step = torch.zeros_like(basis)
        step[at] = 1e-6
        there, back = (random_gap_of(basis + sign * step, embed)[0] for sign in (1, -1))
        assert float(slope[at]) == pytest.approx((there - back) / 2e-6, abs=1e-7)


RANDOM = {"use": "jdme", "kernel": "rbf", "features": 40, "steps": 2, "max_queries": 9}


def test_a_run_with_the_gaussian_kernel_descends_as_one_machine_would(two_domains, play) -> None:
    """Two clients a domain answer questions; the pool's rows and the same labels know the end."""
    run = play(two_domains(**SMALL | {"rounds": 1}, strategy=RANDOM))
    assert run.result.dropped == 0
    assert run.result.domains["plain"] > 0.6
    found, _ = newest(run.folder.checkpoints)
    assert found is not None
    start, kept = found.memory["start"], found.memory["basis"]["basis"]
    data = prepare(load(run.folder.scenario), run.folder.path / "again")
    raw = found.memory["raw"]
    pool: dict[str, list[Tensor]] = {"source": [], "target": []}
    for info in data.clients:
        pool[info.role].append(unit_rows(data.train(info.id).inputs.flatten(1).double()))
    x_s, x_t = (torch.cat(pool[role]) for role in ("source", "target"))
    y_s = torch.cat([data.train(k.id).labels for k in data.clients if k.role == "source"])
    y_t = (x_t @ raw["raw.weight"].double().T + raw["raw.bias"].double()).argmax(dim=1)
    embed = RandomEmbedding(40, found.server["bandwidth"], found.server["seed"])

    def gap(basis: Tensor) -> tuple[float, Tensor, Tensor]:
        source, target = (embed.class_sums(*d, basis, 10) for d in ((x_s, y_s), (x_t, y_t)))
        return random_gap(source, target)

    def slope(basis: Tensor) -> Tensor:
        _, of_source, of_target = gap(basis)
        return embed.slope(x_s, y_s, basis, of_source) + embed.slope(x_t, y_t, basis, of_target)

    central = descend(start["basis"], lambda basis: gap(basis)[0], slope, 2)
    assert float((central - kept).abs().max()) < 1e-8
    assert gap(kept)[0] < gap(start["basis"])[0]
    assert found.server["bandwidth"] == pytest.approx(
        float(torch.cdist(rows := torch.cat([x_s, x_t]), rows).square().sum())
        / (len(rows) * (len(rows) - 1))
    )


def test_the_gaussian_kernel_has_no_moment_head(two_domains, play) -> None:
    with pytest.raises(RunError, match="set `final_head: svm`"):
        play(two_domains(**SMALL, strategy=RANDOM | {"final_head": "moment"}))


def test_another_model_is_refused(two_domains, play) -> None:
    with pytest.raises(RunError, match=r"model: \{use: projected\}"):
        play(two_domains(strategy="jdme", local={}))


def test_raw_images_above_the_stated_size_are_refused(two_domains, play) -> None:
    with pytest.raises(RunError, match=r"local\.max_width allows examples of 50 values"):
        play(two_domains(**{**SMALL, "local": {"max_width": 50}}, strategy="jdme"))
