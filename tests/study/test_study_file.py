"""A study file: which cells it makes, and what is said of one that is wrong."""

from __future__ import annotations

import pytest

from fedsim.errors import ScenarioError
from fedsim.scenario.study_file import is_study, load_study
from fedsim.scenario.study_schema import smallest_p


def test_a_study_is_the_product_of_its_axes_and_seeds(study_file) -> None:
    study = load_study(study_file())
    assert study.shape() == "2 strategy x 2 skew x 2 seeds = 8 runs"
    assert [cell.name for cell in study.cells[:3]] == [
        *("fedavg-mild-s1", "fedavg-mild-s2", "fedavg-severe-s1"),
    ]
    last = study.cells[-1].scenario.resolved()
    assert (last["seed"], last["strategy"], last["data"]["partition"]["alpha"]) == (
        *(2, {"use": "fedprox", "mu": 0.1}, 0.3),
    )


def test_a_level_changes_its_keys_and_leaves_the_base_alone(study_file) -> None:
    study = load_study(study_file())
    partition = study.cells[0].scenario.resolved()["data"]["partition"]
    assert partition == {"use": "dirichlet", "alpha": 5.0, "min_size": 5, "balance": True}


def test_set_changes_every_cell(study_file) -> None:
    study = load_study(study_file(more="set: {rounds: 7, clients.count: 5}\n"))
    assert {(c.scenario.rounds, c.scenario.clients.count) for c in study.cells} == {(7, 5)}


def test_the_command_line_changes_every_cell(study_file) -> None:
    assert {c.scenario.rounds for c in load_study(study_file(), ["rounds=9"]).cells} == {9}


def test_excluded_combinations_are_left_out(study_file) -> None:
    study = load_study(study_file(more="exclude: [{strategy: fedprox, skew: mild}]\n"))
    assert len(study.cells) == 6
    assert not any(c.levels == {"strategy": "fedprox", "skew": "mild"} for c in study.cells)


def test_two_blocks_of_one_strategy_are_told_apart_by_their_parameters(study_file) -> None:
    study = load_study(study_file("[fedavg, {use: fedprox, mu: 0.1}, {use: fedprox, mu: 1}]"))
    assert study.axes["strategy"] == ("fedavg", "fedprox mu=0.1", "fedprox mu=1")
    assert len({cell.name for cell in study.cells}) == len(study.cells)


def test_the_strategies_may_have_names_of_their_own(study_file) -> None:
    named = "{plain: {strategy: fedavg}, eager: {strategy: fedavg, local.lr: 0.5}}"
    study = load_study(study_file(named))
    assert study.axes["strategy"] == ("plain", "eager")
    assert study.cells[-1].scenario.local.parameters["lr"] == 0.5


def test_a_scenario_is_no_study(study_file) -> None:
    path = study_file()
    assert is_study(path)
    assert not is_study(path.with_name("base.yaml"))
    assert not is_study(path.with_name("absent.yaml"))


@pytest.mark.parametrize(("seeds", "least"), [(1, 1.0), (3, 0.25), (5, 0.0625), (6, 0.03125)])
def test_the_least_p_value_of_n_pairs(seeds: int, least: float) -> None:
    assert smallest_p(seeds) == least


def test_the_note_says_what_the_seeds_cannot_show(study_file) -> None:
    note = load_study(study_file(seeds="[1, 2, 3, 4, 5]")).note()
    assert "p = 0.0625 in one setting" in note
    assert "blocked over all 2 settings" in note
    assert load_study(study_file(seeds="[1, 2, 3, 4, 5, 6]")).note() == ""


def tune(space: str, seeds: int = 1) -> str:
    """Return a study's ``tune``, with the validation parts that it takes."""
    said = f"{{space: {{{space}}}, trials: 9, seeds: {seeds}}}"
    return f"set: {{data.holdout.client_val: 20%}}\ntune: {said}\n"


WRONG = {
    "no seeds": ({"seeds": "[]"}, "small.yaml:3:8: seeds: a list of at least one"),
    "seed that is text": ({"seeds": "[1, x]"}, "small.yaml:3:12: seeds[1]: a whole number >= 0"),
    "unknown key": ({"more": "seedz: [1]\n"}, "small.yaml:9:1: seedz: unknown key"),
    "nothing to tune": (
        {"more": "tune: {trials: 9}\n"},
        "small.yaml:9:1: tune.space: is missing: what is tried: dotted keys",
    ),
    "no trials": (
        {"more": "tune: {space: {local.lr: {log: [0.1, 1]}}, trials: 0}\n"},
        "tune.trials",
    ),
    "a misspelt key of tune": (
        {"more": "tune: {space: {local.lr: {log: [0.1, 1]}}, trails: 9}\n"},
        "small.yaml:9:44: tune.trails: unknown key",
    ),
    "no validation parts": (
        {"more": "tune: {space: {local.lr: {log: [0.1, 1]}}, trials: 9}\n"},
        "small.yaml:9:1: tune: trials are scored on validation parts, and data.holdout.client_val",
    ),
    "data that is tuned": (
        {"more": tune("seed: {int: [1, 9]}")},
        "tune.space.seed: only keys of strategy, local and model can be tuned",
    ),
    "no range": ({"more": tune("local.lr: 0.1")}, "tune.space.local.lr: one range is expected"),
    "an unknown range": ({"more": tune("local.lr: {exp: [1, 2]}")}, "'exp' is not a kind of range"),
    "a range upside down": (
        {"more": tune("local.lr: {log: [1, 0.1]}")},
        "log asks for two numbers above 0, the smaller first",
    ),
    "an end that no strategy takes": (
        {"strategies": "[fedprox]", "more": tune("strategy.mu: {uniform: [-1, 1]}")},
        "strategy.mu: a number >= 0 is expected, got -1",
    ),
    "a key that nobody has": (
        {"more": tune("strategy.beta: {uniform: [0, 1]}")},
        "tune.space.strategy.beta: no cell has this key, or every level sets it",
    ),
    "more seeds than there are": (
        {"more": tune("local.lr: {log: [0.1, 1]}", seeds=3)},
        "tune.seeds: the study has 2 only",
    ),
    "no such strategy": (
        {"strategies": "[fedavgg]"},
        "small.yaml:5:14: strategy: no strategy is called 'fedavgg'",
    ),
    "parameter out of range": (
        {"strategies": "[{use: fedprox, mu: -1}]"},
        "small.yaml:5:33: strategy.mu: a number >= 0 is expected, got -1",
    ),
    "strategy twice": ({"strategies": "[fedavg, fedavg]"}, "strategy[1]: the strategy 'fedavg'"),
    "axis that is a list": (
        {"more": "axes_: 1\n", "strategies": "7"},
        "axes.strategy: a list of strategies or named levels are expected",
    ),
    "level in the base's words": (
        {"strategies": "{a: {local.lrr: 1}}"},
        "small.yaml:5:18: local.lrr: client 'sgd', which strategy FedAvg asks for, has no",
    ),
    "no such level": (
        {"more": "exclude: [{strategy: fedavgg}]\n"},
        "small.yaml:9:22: exclude[0].strategy: no such level of strategy",
    ),
    "no such axis": ({"more": "exclude: [{skw: mild}]\n"}, "exclude[0].skw: no such axis"),
    "no such baseline": (
        {"more": "report: {baseline: fedpox}\n"},
        "small.yaml:9:20: report.baseline: no level of strategy is called 'fedpox'",
    ),
    "not a metric": ({"more": "report: {primary: auc}\n"}, "report.primary: a metric of the task"),
    "a round too late": (
        {"more": "report: {primary: accuracy@9}\n"},
        "report.primary: the scenario has 3 rounds only",
    ),
    "clients that nobody judges": (
        {"more": "report: {primary: client_worst_10@final}\nset: {evaluation.clients: 0}\n"},
        "report.primary: the clients are never evaluated",
    ),
    "a domain that is not there": (
        {
            "more": "report: {primary: domain_blured@final}\n"
            "set: {data.source: {use: digits_domains, domains: [plain, blurred]}}\n"
        },
        "report.primary: there is no domain 'blured' here",
    ),
    "a wrong base": ({"more": "set: {clients.count: 0}\n"}, "small.yaml:9:22: clients.count: a"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_with_its_place(name: str, study_file) -> None:
    how, expected = WRONG[name]
    with pytest.raises(ScenarioError) as caught:
        load_study(study_file(**how))
    lines = [f"{f.file}:{f.line}:{f.column}: {f.key}: {f.message}" for f in caught.value.faults]
    assert any(expected in line for line in lines), lines


def test_a_fault_in_a_level_is_said_once_and_not_for_every_cell(study_file) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_study(study_file("[{use: fedprox, mu: -1}]", seeds="[1, 2, 3, 4]"))
    assert len(caught.value.faults) == 1


def test_what_a_strategy_lacks_and_what_a_level_says_is_not_tuned_there(study_file) -> None:
    space = "local.lr: {log: [0.01, 1]}, strategy.mu: {log: [0.01, 1]}"
    file = study_file("[fedavg, fedprox, {use: fedprox, mu: 3}]", "[1, 2]", tune(space, seeds=2))
    study = load_study(file)
    assert [(one.levels["strategy"], sorted(one.space)) for one in study.searches[::2]] == [
        ("fedavg", ["local.lr"]),
        ("fedprox", ["local.lr", "strategy.mu"]),
        ("fedprox mu=3", ["local.lr"]),
    ]
    assert study.trials == 3 * 2 * 9 * 2
    assert study.shape().endswith("= 12 runs, after 108 trials")


def test_an_absent_base_is_said(study_file) -> None:
    path = study_file()
    path.with_name("base.yaml").unlink()
    with pytest.raises(ScenarioError, match=r"base: there is no file 'base.yaml'"):
        load_study(path)
