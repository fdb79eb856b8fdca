"""Every way to get a scenario wrong has its own words, its line and its column."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedsim.errors import Fault, ScenarioError
from fedsim.scenario.faults import as_json, render
from fedsim.scenario.load import load

GOOD = """\
rounds: 3
data: {source: digits}
model: mlp
clients: {count: 10}
strategy: fedavg
"""


def faults(path: Path, *overrides: str) -> list[Fault]:
    with pytest.raises(ScenarioError) as caught:
        load(path, overrides)
    return list(caught.value.faults)


def in_a_line(fault: Fault) -> str:
    return f"{fault.line}:{fault.column}: {fault.key}: {fault.message}"


LOCAL = "local: {lr: 0.1, "
HAS = (
    "it has lr, epochs, batch_size, momentum, weight_decay, lr_decay, steps, "
    "optimizer, state, schedule, clip, accumulate, drop_last, augment, stop"
)
COHORT = "a count (10), a percentage (10%) or all is expected"
NAME = "a name of at most 100 letters, digits and . _ - that starts with no . or - is expected"
STAYS = "a relative path that stays inside the folder it starts from is expected"

# What is written in place of which part of GOOD (of its end, where empty), and what is said.
TABLE = {
    "typo": ("rounds", "ronds", "1:1: ronds: unknown key"),
    "typo in a section": ("count", "cuont", "4:11: clients.cuont: unknown key"),
    "wrong type": ("3", "three", "1:9: rounds: a whole number >= 1 is expected, got 'three'"),
    "text for a number": ("3", "'3'", "1:9: rounds: a whole number >= 1 is expected, got '3'"),
    "float for a count": ("3", "3.0", "1:9: rounds: a whole number >= 1 is expected, got 3.0"),
    "truth for a number": ("3", "true", "1:9: rounds: a whole number >= 1 is expected, got true"),
    "missing": ("rounds: 3", "seed: 3", "0:0: rounds: is missing: a whole number >= 1"),
    "missing in a section": (
        "source: digits",
        "normalize: true",
        "2:1: data.source: is missing: the name of a plug-in or a mapping with `use`",
    ),
    "no client count": (
        "count: 10",
        "per_round: 2",
        "4:1: clients.count: is missing: only natural and domains partitions fix the number of "
        "clients",
    ),
    "out of range": ("3", "0", "1:9: rounds: a whole number >= 1 is expected, got 0"),
    "negative seed": ("", "seed: -1", "6:7: seed: a whole number >= 0 is expected, got -1"),
    "too large for 64 bits": (
        "",
        "seed: 99999999999999999999",
        "6:7: seed: the number does not fit in 64 bits",
    ),
    "no such choice": (
        "",
        "compute: {backend: rya}",
        "6:20: compute.backend: auto, local or ray is expected, got 'rya'",
    ),
    "no such strategy": ("fedavg", "fedagv", "5:11: strategy: no strategy is called 'fedagv'"),
    "no such file": (
        "fedavg",
        "./mine.py:Mine",
        "5:11: strategy: there is no file 'FOLDER/mine.py'",
    ),
    "no such module": (
        "fedavg",
        "no_such:Mine",
        "5:11: strategy: 'no_such:Mine' cannot be imported: "
        "ModuleNotFoundError: No module named 'no_such'",
    ),
    "unknown parameter": (
        "fedavg",
        "{use: fedprox, nu: 1}",
        "5:26: strategy.nu: strategy 'fedprox' has no parameter 'nu'; it has mu",
    ),
    "parameter out of range": (
        "fedavg",
        "{use: fedprox, mu: -1}",
        "5:30: strategy.mu: a number >= 0 is expected, got -1",
    ),
    "item of a parameter": (
        "mlp",
        "{use: mlp, hidden: [3, x]}",
        "3:31: model.hidden[1]: a whole number >= 1 is expected, got 'x'",
    ),
    "key that the client does not use": (
        "",
        LOCAL + "dampening: true}",
        "6:18: local.dampening: client 'sgd', which strategy FedAvg asks for, "
        f"has no parameter 'dampening'; {HAS}",
    ),
    "misspelt optimizer": (
        "",
        "local: {optimizer: adamm}",
        "6:20: local.optimizer: no optimizer is called 'adamm'",
    ),
    "misspelt parameter of an optimizer": (
        "",
        "local: {optimizer: {use: adam, beta: [0.9, 0.99]}}",
        "6:32: local.optimizer.beta: optimizer 'adam' has no parameter 'beta'; "
        "it has lr, betas, eps, weight_decay",
    ),
    "item of an optimizer's parameter": (
        "",
        "local: {optimizer: {use: adam, betas: [0.9, 1.5]}}",
        "6:45: local.optimizer.betas[1]: a number >= 0 and < 1 is expected, got 1.5",
    ),
    "optimizer without a name": (
        "",
        "local: {optimizer: {lr: 0.1}}",
        "6:20: local.optimizer: which optimizer? `use` is missing",
    ),
    "optimizer that is a number": (
        "",
        "local: {optimizer: 3}",
        "6:20: local.optimizer: text is expected, got 3",
    ),
    "class that torch has not": (
        "",
        "local: {optimizer: torch:NAdamm}",
        "6:20: local.optimizer: torch.optim has no class NAdamm",
    ),
    "two step sizes": (
        "",
        LOCAL + "optimizer: adam}",
        "6:9: local.lr: belongs to SGD without a key optimizer, and there is one",
    ),
    "misspelt schedule": (
        "",
        LOCAL + "schedule: {use: cosine, warm_up: 2}}",
        "6:42: local.schedule.warm_up: schedule 'cosine' has no parameter 'warm_up'; "
        "it has over, warmup, length, floor",
    ),
    "steps that are not linear": (
        "fedavg",
        "scaffold\nlocal: {optimizer: adamw}",
        "6:20: local.optimizer: scaffold needs steps linear in the gradient (sgd)",
    ),
    "steps that are not linear, normalized": (
        "fedavg",
        "fednova\nlocal: {optimizer: torch:SGD}",
        "6:20: local.optimizer: fednova needs steps linear in the gradient (sgd)",
    ),
    "state that steps cannot start from": (
        "fedavg",
        "scaffold\nlocal: {momentum: 0.9, state: keep}",
        "6:31: local.state: Controlled does without it: what its steps are worth is known only "
        "where they start from rest",
    ),
    "state that cannot be kept": (
        "",
        "local: {optimizer: torch:NAdam, state: keep}",
        "6:40: local.state: what NAdam remembers cannot be kept from round to round",
    ),
    "accumulation of releases": (
        "",
        "local: {use: dp_sgd, accumulate: 4}\n"
        "privacy: {unit: record, clip: 1.0, noise_multiplier: 1.0, delta: 1.0e-5}",
        "6:34: local.accumulate: DpSgd does without it: every batch is a release of its own, "
        "with its own sample and noise",
    ),
    "second clip": (
        "fedavg",
        "dann\nlocal: {clip: 1.0}",
        "6:15: local.clip: Adversarial does without it: gradients are cut to max_norm already",
    ),
    "duplicate key": (
        "",
        "rounds: 4",
        "6:1: rounds: duplicate key; the first is on line 1",
    ),
    "bare share": ("count: 10", "count: 10, per_round: 0.1", f"4:33: clients.per_round: {COHORT}, "
                   "got 0.1"),
    "more than all": ("count: 10", "count: 10, per_round: 101%", "4:33: clients.per_round: "
                      f"{COHORT}, got '101%'"),
    "nobody": ("count: 10", "count: 10, per_round: 0%", f"4:33: clients.per_round: {COHORT}, "
               "got '0%'"),
    "more per round than there are": (
        "count: 10",
        "count: 10, per_round: 11",
        "4:33: clients.per_round: 11 clients per round, but there are only 10 (clients.count)",
    ),
    "more replies than asked for": (
        "count: 10",
        "count: 10, per_round: 5, min_replies: 6",
        "4:49: clients.min_replies: 6 replies, but only 5 clients are asked in a round",
    ),
    "deadline in the past": (
        "count: 10",
        "count: 10, deadline_s: 0",
        "4:34: clients.deadline_s: a number > 0 or null is expected, got 0",
    ),
    "nothing left to train on": (
        "source: digits",
        "source: digits, holdout: {client_val: 50%, client_test: 50%}",
        "2:33: data.holdout: client_val and client_test leave the clients nothing to train on",
    ),
    "share as a number": (
        "source: digits",
        "source: digits, holdout: {client_val: 0.5}",
        "2:46: data.holdout.client_val: a percentage below 100% (20%) is expected, got 0.5",
    ),
    "evaluation without tests": (
        "",
        "evaluation: {clients: 1}",
        "6:23: evaluation.clients: the clients have no test parts: data.holdout.client_test is 0%",
    ),
    "target of no metric": ("", "evaluation: {targets: {acuracy: 0.9}}", "6:24: "
                            "evaluation.targets.acuracy: task 'classification' has no "
                            "metric 'acuracy'"),
    "address that nobody uses": (
        "",
        "compute: {backend: local, address: auto}",
        "6:36: compute.address: is not used by the backend local",
    ),
    "name and use": (
        "fedavg",
        "{use: fedavg, name: fedprox}",
        "5:25: strategy.name: 'use' and 'name' are the same word: keep one",
    ),
    "part without a name": ("fedavg", "{mu: 1}", "5:11: strategy: which strategy? `use` is "
                            "missing"),
    "list in place of a part": (
        "fedavg",
        "[fedavg]",
        "5:11: strategy: the name of a plug-in or a mapping with `use` is expected, got a list",
    ),
    "list in place of a section": (
        "{count: 10}",
        "[10]",
        "4:10: clients: a mapping that may have count, per_round, sampler, min_replies and "
        "deadline_s is expected, got a list",
    ),
    "no number": ("", LOCAL + "momentum: .nan}", "6:28: local.momentum: a finite number is "
                  "expected, got .nan"),
    "infinite number": ("", LOCAL + "momentum: 1e999}", "6:28: local.momentum: a finite number "
                        "is expected, got 1e999"),
    "key that is no text": ("", "1: 2", "6:1: : the key 1 is not text; write it in quotes if it "
                            "is meant"),
    "merge key": ("", "<<: {a: 1}", "6:1: : merge keys (<<) are not part of YAML 1.2"),
    "study": ("", "kind: study", "6:7: kind: this is a study, and one scenario is expected"),
    "unknown kind": ("", "kind: stud", "6:7: kind: scenario is expected, got 'stud'"),
    "another schema": ("", "schema: fedsim/2", "6:9: schema: fedsim/1 is expected, got "
                       "'fedsim/2'"),
    "name with a slash": ("", "name: a/b", f"6:7: name: {NAME}, got 'a/b'"),
    "name of the folder above": ("", "name: ..", f"6:7: name: {NAME}, got '..'"),
    "output above": ("", "output: {dir: ../runs}", f"6:15: output.dir: {STAYS}, got '../runs'"),
    "output at the root": ("", "output: {dir: /runs}", f"6:15: output.dir: {STAYS}, got '/runs'"),
    "output with a NUL": ("", 'output: {dir: "a\\0"}', f"6:15: output.dir: {STAYS}, "
                          "got 'a\\x00'"),
    "data that are not there": (
        "digits",
        "npz:no.npz",
        "2:16: data.source.path: there is no file or folder 'FOLDER/no.npz'",
    ),
    "parent that is not there": ("", "extends: no.yaml", "6:10: extends: there is no file "
                                 "'FOLDER/no.yaml'"),
    "parent of itself": ("", "extends: bad.yaml", "6:10: extends: bad.yaml extends this file: "
                         "a cycle"),
    "preset outside": ("", "extends: 'preset:../x'", "6:10: extends: no preset is called '../x'"),
    "tag": ("digits", "!!python/object:os.system x", "2:16: : the tag !!python/object:os.system "
            "is not allowed: a scenario holds plain values"),
    "depth": ("mlp", "[" * 60 + "]" * 60, "3:57: : nested more than 50 deep"),
    "no such alias": ("mlp", "*x", "3:8: : found undefined alias 'x'"),
    "tab": ("{count: 10}", "\n\tcount: 10", "5:1: : a tab in the indentation"),
    "open bracket": ("{source: digits}", "{source: digits", "3:6: : not YAML: expected ',' or '}', "
                     "but got ':'"),
    "two documents": ("", "---\na: 1", "6:1: : a second document (---): a scenario is one "
                      "document"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), TABLE.values(), ids=TABLE)
def test_a_fault_has_its_words_and_its_place(
    tmp_path: Path, old: str, new: str, expected: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace(old, new, 1) if old else GOOD + new, encoding="utf-8")
    lines = [in_a_line(fault) for fault in faults(file)]
    assert lines == [expected.replace("FOLDER", str(tmp_path))]


BYTES = {
    "empty": (b"", "0:0: : the file is empty"),
    "comments only": (b"# nothing\n", "0:0: : the file is empty"),
    "list": (b"- 1\n", "1:1: : a mapping (key: value) is expected, got a list"),
    "not UTF-8": (b"rounds: 3\nname: \xff\n", "2:7: : not UTF-8 text"),
    "NUL": (b"rounds: 3\nname: \0\n", "2:7: : the character '\\x00' is not allowed in YAML"),
    "too large": (b"#" * 1_000_001, "0:0: : more than 1 MB is no scenario"),
    "too many values": (
        b"tags: [" + b"1," * 20_000 + b"]",
        "1:20002: : more than 10000 values",
    ),
    "billion laughs": (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + b"".join(
            b"%c: &%c [%s]\n" % (98 + k, 98 + k, b",".join([b"*%c" % (97 + k)] * 10))
            for k in range(9)
        ),
        "1:35: : aliases that come to more than 10000 values",
    ),
    "list that holds itself": (b"a: &a [*a]", "1:4: : aliases that come to more than 10000 values"),
}


@pytest.mark.parametrize(("content", "expected"), BYTES.values(), ids=BYTES)
def test_a_file_that_cannot_be_read_is_one_fault(
    tmp_path: Path, content: bytes, expected: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    assert [in_a_line(fault) for fault in faults(file)] == [expected]


def test_a_missing_file_and_a_folder_are_one_fault_each(tmp_path: Path) -> None:
    assert [in_a_line(f) for f in faults(tmp_path / "no.yaml")] == ["0:0: : no such file"]
    assert [in_a_line(f) for f in faults(tmp_path)] == ["0:0: : a folder, not a file"]


def test_all_faults_are_reported_at_once_and_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("ronds: 3\nseed: x\ndata: {source: digit}\nmodle: mlp\nstrategy: 3\n")
    keys = ["clients.count", "ronds", "seed", "data.source", "modle", "strategy"]
    assert [fault.key for fault in faults(file)] == keys


def test_a_misspelt_required_parameter_is_reported_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Mine:\n    strength: float\n"
    )
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("fedavg", "{use: './mine.py:Mine', strenght: 1}"))
    assert [fault.key for fault in faults(file)] == ["strategy.strenght"]


@pytest.mark.parametrize(
    ("where", "key", "section"),
    [
        ("", "batch_size: 3", "'local'"),
        ("", "per_round: 3", "'clients'"),
        ("strategy: {use: fedprox, ", "lr: 1}", "'local'"),
        ("compute: {", "seed: 1}", "the top level"),
    ],
)
def test_a_key_of_another_section_is_told_where_it_belongs(
    tmp_path: Path, where: str, key: str, section: str
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("strategy: fedavg\n", "" if "strategy" in where else "strategy: "
                                 "fedprox\n") + where + key)  # fmt: skip
    (fault,) = faults(file)
    assert fault.hint == f"{key.split(':')[0]!r} belongs under {section}"


def test_a_fault_of_a_parent_names_the_parent(tmp_path: Path) -> None:
    (tmp_path / "parent.yaml").write_text(GOOD + "seed: x\n")
    file = tmp_path / "child.yaml"
    file.write_text("extends: parent.yaml\nrounds: x\n")
    places = [(Path(fault.file).name, fault.line, fault.key) for fault in faults(file)]
    assert places == [("child.yaml", 2, "rounds"), ("parent.yaml", 6, "seed")]


def test_a_circle_of_parents_is_a_fault(tmp_path: Path) -> None:
    for name, parent in [("a", "b"), ("b", "c"), ("c", "a")]:
        (tmp_path / f"{name}.yaml").write_text(f"extends: {parent}.yaml\n")
    (fault,) = faults(tmp_path / "a.yaml")
    assert fault.message == "a.yaml extends this file: a cycle"
    assert Path(fault.file).name == "c.yaml"


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        ("rounds", "", "KEY=VALUE is expected, such as strategy.mu=0.1"),
        ("=3", "", "KEY=VALUE is expected, such as strategy.mu=0.1"),
        ("a..b=3", "", "KEY=VALUE is expected, such as strategy.mu=0.1"),
        ("rounds=x", "rounds", "a whole number >= 1 is expected, got 'x'"),
        ("rounds=", "rounds", "a whole number >= 1 is expected, got nothing"),
        ("ronds=3", "ronds", "unknown key"),
        ("tags=[1", "tags", "not YAML: expected ',' or ']', but got '<stream end>'"),
        ("local.lr=.inf", "local.lr", "a finite number is expected, got .inf"),
    ],
)
def test_a_bad_override_is_blamed_on_the_command_line(
    tmp_path: Path, override: str, key: str, message: str
) -> None:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    (fault,) = faults(file, override)
    assert fault == Fault(f"--set {override}", 0, 0, key, message, fault.hint)


def test_faults_are_rendered_with_the_line_a_caret_and_a_count(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("rounds", "ronds").replace("10", "0.5"))
    assert render(faults(file)).replace(str(tmp_path), "") == (
        "error: /bad.yaml:1:1: ronds: unknown key\n"
        "     1 | ronds: 3\n"
        "       | ^\n"
        "    did you mean 'rounds'?\n"
        "error: /bad.yaml:4:18: clients.count: a whole number >= 1 or null is expected, got 0.5\n"
        "     4 | clients: {count: 0.5}\n"
        "       |                  ^\n"
        "2 errors. Nothing was run. `fedsim explain KEY` describes any key."
    )


def test_faults_as_json_say_the_same(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(GOOD.replace("rounds", "ronds"))
    assert as_json(faults(file)) == [
        {
            "file": str(file),
            "line": 1,
            "column": 1,
            "key": "ronds",
            "message": "unknown key",
            "hint": "did you mean 'rounds'?",
            "source": "ronds: 3",
        }
    ]


TYPOS = {
    "rouns: 3": "rounds", "sed: 1": "seed", "stratgey: fedavg": "strategy", "modl: mlp": "model",
    "client: {count: 3}": "clients", "evalution: {}": "evaluation", "chekpoint: {}": "checkpoint",
    "ouput: {dir: runs}": "output", "descripton: x": "description", "refrences: []": "references",
    "data: {surce: digits}": "source", "data: {source: digits, partion: iid}": "partition",
    "data: {source: digits, normalise: true}": "normalize", "clients: {perround: 3}": "per_round",
    "clients: {deadline: 3}": "deadline_s", "compute: {gpu_per_worker: 1}": "gpus_per_worker",
    "local: {learning_rate: 1, batchsize: 3}": "batch_size", "local: {epoch: 3}": "epochs",
    "strategy: fedporx": "fedprox", "data: {source: digits, partition: dirichelt}": "dirichlet",
    "strategy: {use: fedprox, Mu: 1}": "mu", "model: resnet8-gn": "resnet8_gn",
}  # fmt: skip


@pytest.mark.parametrize(("line", "meant"), TYPOS.items(), ids=TYPOS.values())
def test_a_typo_gets_the_word_that_was_meant(tmp_path: Path, line: str, meant: str) -> None:
    lines = [good for good in GOOD.splitlines() if good.split(":")[0] != line.split(":")[0]]
    file = tmp_path / "bad.yaml"
    file.write_text("\n".join([*lines, line]))
    assert any(f"did you mean '{meant}'?" in fault.hint for fault in faults(file))
