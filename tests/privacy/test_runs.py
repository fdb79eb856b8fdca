"""Whole runs under privacy: repeatable, paid for, stopped in time, and silent about clients."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fedsim.cli.app import main
from fedsim.engine.run import resume_run, run_scenario
from fedsim.errors import BudgetSpent, RunFolderError, ScenarioError
from fedsim.flower.parts import client_of, strategy_of
from fedsim.privacy.ledger import PrivacyLedger
from fedsim.privacy.privacy_spec import privacy_spec_of
from fedsim.privacy.statement import statement_of
from fedsim.runlog.events import Event, RoundDone
from fedsim.runlog.run_folder import RunFolder

CLIENT: dict[str, Any] = {
    "unit": "client",
    "clip": 1.0,
    "noise_multiplier": 1.0,
    "delta": 1e-3,
    "rng": "simulation",
}
RECORD: dict[str, Any] = {
    "unit": "record",
    "clip": 1.0,
    "noise_multiplier": 1.0,
    "delta": 1e-4,
    "rng": "simulation",
}
POISSON = {"count": 12, "per_round": 4, "sampler": "poisson"}
DP_SGD = {"use": "dp_sgd", "steps": 3, "sample_rate": 0.1}
ADAPTIVE = {**CLIENT, "clipping": "adaptive", "noise_multiplier": 0.3}

PRIVATE: dict[str, dict[str, Any]] = {
    "client": {"privacy": CLIENT, "clients": POISSON, "strategy": "fedadam"},
    "adaptive": {"privacy": ADAPTIVE, "clients": POISSON},
    "uniform": {"privacy": CLIENT, "clients": {"count": 12, "per_round": 4}},
    "local": {"privacy": {**CLIENT, "placement": "local"}, "clients": {"count": 6}},
    "record": {"privacy": RECORD, "local": DP_SGD},
}


def ledger_of(folder: RunFolder) -> PrivacyLedger:
    found = PrivacyLedger.read(folder.path / "privacy.jsonl")
    assert found is not None
    return found


@pytest.mark.parametrize("name", ["client", "adaptive", "local", "record"])
def test_a_private_run_killed_anywhere_resumes_to_the_same_end(
    name, scenario, play, tmp_path, run_killed_at
) -> None:
    of = scenario(**PRIVATE[name], checkpoint={"every": 2}, rounds=3)
    whole = play(of)
    for number in range(2, len(whole.events), 2):
        folder = RunFolder.create(tmp_path / f"killed {number}")
        run_killed_at(of, folder, number)
        result = resume_run(folder, lambda _: None)
        assert result.weights_sha256 == whole.result.weights_sha256
        assert result.metrics_sha256 == whole.result.metrics_sha256
        # A replay with the same noise releases nothing new, and costs nothing.
        assert ledger_of(folder).charges == ledger_of(whole.folder).charges


@pytest.mark.ray
@pytest.mark.parametrize("name", ["adaptive", "record"])  # each its own placement of noise
def test_two_workers_give_the_numbers_of_one(name, scenario, play, ray_session) -> None:
    here = play(scenario(**PRIVATE[name])).result
    there = play(scenario(**PRIVATE[name], compute={"backend": "ray", "workers": 2})).result
    assert there.weights_sha256 == here.weights_sha256
    assert there.metrics_sha256 == here.metrics_sha256


@pytest.mark.parametrize("chunk", [1, 3])
def test_chunks_change_nothing(chunk, scenario, play) -> None:
    whole = play(scenario(**PRIVATE["adaptive"])).result
    cut = play(scenario(**PRIVATE["adaptive"], compute={"backend": "local", "chunk": chunk}))
    assert cut.result.weights_sha256 == whole.weights_sha256


@pytest.mark.parametrize("name", ["client", "record"])
def test_secure_noise_differs_from_run_to_run(name, scenario, play) -> None:
    secure = {**PRIVATE[name], "privacy": {**PRIVATE[name]["privacy"], "rng": "secure"}}
    results = [play(scenario(**secure)).result.weights_sha256 for _ in range(2)]
    assert results[0] != results[1]


def test_secure_cohorts_are_not_those_of_the_seed(scenario, play) -> None:
    clients = {"count": 40, "per_round": 20, "sampler": "poisson"}
    of = scenario(privacy={**CLIENT, "rng": "secure"}, clients=clients)
    first, second = (play(of) for _ in range(2))
    assert [r.cohort for r in first.rounds] != [r.cohort for r in second.rounds]


def test_a_secure_round_that_is_done_again_is_paid_again(scenario, tmp_path, run_killed_at) -> None:
    of = scenario(privacy={**CLIENT, "rng": "secure"}, clients=POISSON, checkpoint={"every": 9})
    folder = RunFolder.create(tmp_path / "run")
    run_killed_at(of, folder, 5)
    done = len(ledger_of(folder).charges)
    resume_run(folder, lambda _: None)
    assert done == 2
    assert len(ledger_of(folder).charges) == done + 3
    assert all(not charge.digest for charge in ledger_of(folder).charges)


def test_rounds_in_which_nobody_comes_release_noise(scenario, play) -> None:
    clients = {"count": 12, "per_round": 1, "sampler": "poisson"}
    done = play(scenario(privacy=CLIENT, clients=clients, rounds=12))
    empty = [record.round for record in done.rounds if not record.cohort]
    assert empty
    losses = {record.round: record.loss for record in done.rounds}
    assert all(losses[number] != losses[number - 1] for number in empty if number > 1)
    assert len(ledger_of(done.folder).charges) == 12


def test_the_run_stops_before_the_budget_is_overspent(scenario, tmp_path) -> None:
    of = scenario(privacy={**CLIENT, "budget": {"epsilon": 3.0}}, clients=POISSON, rounds=50)
    folder = RunFolder.create(tmp_path / "run")
    events: list[Event] = []
    with pytest.raises(BudgetSpent, match=r"budget \(epsilon 3\) reached before round"):
        run_scenario(of, folder, events.append)
    result, claim = folder.result(), privacy_spec_of(of, 12)
    assert result is not None
    assert claim.epsilon(result.rounds) <= 3.0 < claim.epsilon(result.rounds + 1)
    assert len(ledger_of(folder).charges) == result.rounds
    assert sum(isinstance(event, RoundDone) for event in events) == result.rounds < 50
    assert (folder.path / "model.safetensors").is_file()
    with pytest.raises(BudgetSpent):
        resume_run(folder, lambda _: None)


def test_the_busiest_client_stops_a_run_of_records(scenario, tmp_path) -> None:
    privacy = {**RECORD, "budget": {"epsilon": 2.5}}
    of = scenario(privacy=privacy, local=DP_SGD, clients={"count": 6, "per_round": 2}, rounds=40)
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(BudgetSpent):
        run_scenario(of, folder, lambda _: None)
    claim = privacy_spec_of(of, 6)
    paid = [charge.clients or () for charge in ledger_of(folder).charges]
    turns = [sum(client in clients for clients in paid) for client in range(6)]
    assert claim.epsilon(max(turns)) <= 2.5 < claim.epsilon(max(turns) + 1)


@pytest.mark.parametrize("name", ["client", "uniform", "local", "record"])
def test_the_noise_for_a_budget_lasts_all_rounds(name, scenario, play) -> None:
    privacy = {**PRIVATE[name]["privacy"], "budget": {"epsilon": 5.0}, "accountant": "rdp"}
    del privacy["noise_multiplier"]
    done = play(scenario(**{**PRIVATE[name], "privacy": privacy}))
    assert done.result.rounds == 3
    assert done.result.stopped == ""
    noise = ledger_of(done.folder).promise["noise_multiplier"]
    assert noise > 0


def test_what_clients_measure_does_not_leave(scenario, play) -> None:
    silent = play(scenario(privacy=CLIENT, clients=POISSON))
    assert all(record.train == {} for record in silent.rounds)
    open_ = play(scenario(privacy={**CLIENT, "metrics": "simulation"}, clients=POISSON))
    names = {name for record in open_.rounds for name in record.train}
    assert names == {"simulation-only.loss"}
    assert any("simulation only" in note for note in open_.notes)
    assert open_.result.weights_sha256 == silent.result.weights_sha256


@pytest.mark.parametrize("how", ["rolled back", "edited", "removed"])
def test_a_ledger_that_was_tampered_with_ends_the_run(
    how, scenario, tmp_path, run_killed_at
) -> None:
    of = scenario(privacy=CLIENT, clients=POISSON)
    folder = RunFolder.create(tmp_path / "run")
    run_killed_at(of, folder, 6)
    path = folder.path / "privacy.jsonl"
    lines = path.read_text().splitlines()
    assert len(lines) >= 3
    if how == "rolled back":
        path.write_text("\n".join(lines[:2]) + "\n")
    elif how == "edited":
        path.write_text(path.read_text().replace('"clip": 1.0', '"clip": 0.5'))
    else:
        path.unlink()
    with pytest.raises(RunFolderError, match=r"is older than the|was changed"):
        resume_run(folder, lambda _: None)


def test_client_memory_counts_the_turns_that_the_ledger_charges(scenario, play) -> None:
    from fedsim.runlog import checkpoint

    done = play(scenario(**PRIVATE["record"]))
    found, _ = checkpoint.newest(done.folder.checkpoints)
    assert found is not None
    charges = ledger_of(done.folder).charges
    for client in range(6):
        own = int(found.clients[client]["privacy"]["turns"])
        assert own == sum(client in (charge.clients or ()) for charge in charges) == 3


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no unit": ({"privacy": {**CLIENT, "unit": None}}, "privacy.unit"),
    "no clip": ({"privacy": {**CLIENT, "clip": 0}}, "privacy.clip"),
    "delta": ({"privacy": {**CLIENT, "delta": 0.2}}, "privacy.delta"),
    "no noise": ({"privacy": {**CLIENT, "noise_multiplier": None}}, "privacy"),
    "round robin": ({"clients": {**POISSON, "sampler": "round_robin"}}, "clients.sampler"),
    "median": ({"strategy": "fedmedian"}, "strategy"),
    "scaffold": ({"strategy": "scaffold"}, "strategy"),
    "fednova": ({"strategy": "fednova"}, "strategy"),
    "stock": ({"strategy": {"use": "flwr.serverapp.strategy:FedAvgM"}}, "strategy"),
    "reference": ({"references": ["local"]}, "references"),
    "sgd for records": ({"privacy": RECORD}, "local"),
    "bfloat16 records": (
        {"privacy": RECORD, "local": DP_SGD, "compute": {"precision": "bf16"}},
        "compute.precision",
    ),
    "dp_sgd for clients": ({"local": DP_SGD}, "local"),
    "adaptive records": (
        {"privacy": {**RECORD, "clipping": "adaptive"}, "local": DP_SGD},
        "privacy.clipping",
    ),
    "central records": (
        {"privacy": {**RECORD, "placement": "central"}, "local": DP_SGD},
        "privacy.placement",
    ),
    "quantile of nothing": ({"privacy": {**CLIENT, "quantile": 0.5}}, "privacy.quantile"),
    "dp_sgd alone": ({"privacy": None, "local": DP_SGD}, "local"),
    "private_matching alone": (
        {"privacy": None, "local": {"use": "private_matching"}, "strategy": "feddm"},
        "local",
    ),
    "mean_embeddings alone": ({"privacy": None, "strategy": "feddm_me"}, "local"),
    "matching for records": ({"privacy": RECORD, "strategy": "feddm"}, "local"),
    # Asked to train, it would send plain weights.
    "private_matching for weights": (
        {"privacy": RECORD, "local": {"use": "private_matching"}},
        "local",
    ),
    "dp_sgd for images": ({"privacy": RECORD, "local": DP_SGD, "strategy": "feddm"}, "local"),
    "real images": (
        {
            "privacy": RECORD,
            "local": {"use": "private_matching", "init": "real"},
            "strategy": "feddm",
        },
        "local.init",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_promise_that_cannot_be_kept_is_refused_where_it_stands(name, scenario) -> None:
    changes, key = BAD[name]
    with pytest.raises(ScenarioError) as caught:
        scenario(**{"privacy": CLIENT, "clients": POISSON, **changes})
    assert key in {fault.key for fault in caught.value.faults}
    assert all(fault.line for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("strategy", "fitting"),
    [("fedavg", "dp_sgd"), ("feddm", "mean_embeddings or private_matching")],
)
def test_the_refusal_names_the_halves_that_fit_the_strategy(strategy, fitting, scenario) -> None:
    with pytest.raises(ScenarioError, match=rf"local: \{{use: {fitting}.*\}} does"):
        scenario(privacy=RECORD, strategy=strategy)


def test_a_half_is_never_asked_for_what_it_does_not_protect(scenario) -> None:
    """However the scenario came about: the check of its file is not all that stands between."""
    good = scenario(privacy=RECORD, strategy="feddm", local={"use": "private_matching"})
    asked = strategy_of(scenario(privacy=RECORD, local=DP_SGD))
    with pytest.raises(ScenarioError, match="sends nothing private when asked to train"):
        client_of(good, asked)


def test_a_budget_that_not_even_one_round_meets_is_refused(scenario, play) -> None:
    with pytest.raises(ScenarioError, match="cannot be met: one round costs"):
        play(scenario(privacy={**CLIENT, "budget": {"epsilon": 0.5}}, clients=POISSON))


def test_adaptive_clipping_with_too_few_clients_is_refused(scenario, play) -> None:
    with pytest.raises(ScenarioError, match="more than 10 clients per round"):
        play(scenario(privacy={**ADAPTIVE, "noise_multiplier": 1.0}, clients=POISSON))


def test_batch_norm_is_refused(scenario, play, tmp_path) -> None:
    (tmp_path / "normed.py").write_text(
        "import torch\n\n\nclass Normed(torch.nn.Module):\n"
        "    def __init__(self, shape=(1, 8, 8), classes=10):\n"
        "        super().__init__()\n"
        "        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(64))\n"
        "        self.last = torch.nn.Linear(64, classes)\n\n"
        "    def features(self, x):\n        return self.body(x)\n\n"
        "    def head(self, z):\n        return self.last(z)\n\n"
        "    def forward(self, x):\n        return self.head(self.features(x))\n"
    )
    with pytest.raises(ScenarioError, match=r"BatchNorm1d \(body.1\).*GroupNorm"):
        play(scenario(privacy=CLIENT, clients=POISSON, model={"use": "./normed.py:Normed"}))


def test_a_claim_says_what_its_sampler_does(scenario) -> None:
    poisson = privacy_spec_of(scenario(privacy=CLIENT, clients=POISSON), 12)
    fixed = privacy_spec_of(scenario(**PRIVATE["uniform"]), 12)
    everyone = privacy_spec_of(scenario(privacy=CLIENT, clients={"count": 12}), 12)
    local = privacy_spec_of(scenario(**PRIVATE["local"]), 6)
    public = privacy_spec_of(scenario(privacy={**CLIENT, "sampling": "none"}, clients=POISSON), 12)
    assert (poisson.relation, poisson.sensitivity) == ("add or remove one client", 1.0)
    assert (fixed.relation, fixed.sensitivity) == ("replace one client", 2.0)
    assert (everyone.relation, everyone.sensitivity) == ("add or remove one client", 1.0)
    assert (local.relation, local.sensitivity) == ("replace one client", 2.0)
    assert poisson.sample_rate == fixed.sample_rate == 4 / 12
    assert everyone.sample_rate == local.sample_rate == public.sample_rate == 1.0
    assert poisson.epsilon(9) < public.epsilon(9) == everyone.epsilon(9) < fixed.epsilon(9)


def test_the_accountants_are_held_against_each_other(scenario) -> None:
    claim = privacy_spec_of(scenario(privacy=CLIENT, clients=POISSON), 12)
    pld, rdp = claim.checked(10)
    assert pld <= rdp
    assert replace(claim).checked(0) == (0.0, 0.0)


@pytest.fixture
def finished(scenario, play) -> RunFolder:
    folder: RunFolder = play(scenario(**PRIVATE["client"])).folder
    return folder


def test_the_statement_says_all_that_a_claim_needs(finished, capsys, tmp_path) -> None:
    assert main(["privacy", "show", str(finished.path)]) == 0
    said = capsys.readouterr().out
    for word in ("add or remove one client", "delta 0.001", "PLD", "poisson, 4 of 12", "NOT"):
        assert word in said
    for name in ("statement.md", "statement.html"):
        assert main(["privacy", "export", str(finished.path), "-o", str(tmp_path / name)]) == 0
        assert "add or remove one client" in (tmp_path / name).read_text()
    assert "<script" not in (tmp_path / "statement.html").read_text()
    capsys.readouterr()
    assert main(["privacy", "show", str(finished.path), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["ledger"].startswith("privacy.jsonl, charges: 3")


@pytest.mark.parametrize(
    ("local", "released"),
    [
        ({"use": "private_matching", "sample_rate": 0.5}, "2 times a sum of samples, each example"),
        ({"use": "mean_embeddings", "models": 2}, "2 times a sum of all examples: no amplif"),
    ],
)
def test_the_statement_lists_all_that_a_half_releases(local, released, scenario, play) -> None:
    small = {"images_per_class": 1, "steps": 2, "count_noise": 3.0}
    made = scenario(
        rounds=1,
        privacy={**RECORD, "rng": "secure"},
        strategy={"use": "feddm", "epochs": 1},
        local={**small, **local},
        model={"use": "convnet", "width": 4, "depth": 1},
    )
    lines = dict(statement_of(play(made).folder, made).lines)
    assert released in lines["sampling"]
    assert "once a sum of all examples" in lines["sampling"]
    assert "noise 3 times the sensitivity" in lines["sampling"]
    assert lines["promise"].startswith("who sees all that clients send, the server too, cannot")


def test_a_run_without_a_promise_has_no_statement(scenario, play, capsys) -> None:
    folder = play(scenario(rounds=1)).folder
    assert main(["privacy", "show", str(folder.path)]) == 2
    assert "nothing was promised" in capsys.readouterr().err


def test_the_plan_meets_the_wish(scenario, tmp_path, capsys) -> None:
    file = tmp_path / "plan.yaml"
    raw = yaml.safe_load(yaml.safe_dump(PRIVATE["client"]))
    scenario(**raw)
    (tmp_path / "small.yaml").rename(file)
    drawing = tmp_path / "curve.svg"
    words = ["privacy", "plan", str(file), "--epsilon", "2", "-o", str(drawing)]
    assert main([*words, "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    claim = privacy_spec_of(scenario(**raw), 12)
    told = claim.privacy.model_copy(update={"noise_multiplier": found["noise_multiplier"]})
    assert 1.99 <= replace(claim, privacy=told).epsilon(3) <= 2.0
    assert found["now"] == claim.epsilon(3)
    assert Path(drawing).read_text().startswith("<svg")
    assert main(words) == 0


def test_the_budget_ends_the_command_with_six(scenario, tmp_path, capsys) -> None:
    scenario(privacy={**CLIENT, "budget": {"epsilon": 3.0}}, clients=POISSON, rounds=20)
    file = tmp_path / "small.yaml"
    assert main(["run", str(file), "--run-dir", str(tmp_path / "run")]) == 6
    shown = capsys.readouterr()
    assert "result" in shown.out
    assert "privacy budget (epsilon 3) reached" in shown.err


LATE = """\
rounds: 1
model: mlp
data: {source: digits}
clients: {count: 4}
strategy: fedavg
local: {use: dp_sgd, lr: 0.1, sample_rate: 0.1, steps: 1}
privacy:
  unit: record
  clip: 1.0
  noise_multiplier: 1.0
  delta: 0.1
"""


@pytest.mark.parametrize("words", [["run"], ["check", "--plan"]])
def test_what_only_the_data_can_tell_is_told_with_its_line(words, tmp_path, capsys) -> None:
    (file := tmp_path / "late.yaml").write_text(LATE)
    out = ["--out", str(tmp_path / "runs")] if words == ["run"] else []
    assert main([*words, str(file), *out]) == 2
    said = capsys.readouterr().err
    assert f"{file}:11:10: privacy.delta: 0.1 with 1438 units" in said
    assert "  delta: 0.1\n" in said
