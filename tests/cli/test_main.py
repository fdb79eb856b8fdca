"""The command line: exit codes, nearest names, quiet pipes, and nothing heavy where it can."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fedsim.cli import main
from fedsim.cli.failure import resumable, tell
from fedsim.cli.screen import Screen
from fedsim.errors import Interrupted, RunError
from fedsim.runlog.run_folder import RunFolder

SCENARIO = """\
name: tiny
rounds: 2
data: {source: digits}
model: mlp
clients: {count: 3}
strategy: fedavg
"""
HEAVY = ("torch", "ray", "flwr", "pandas", "matplotlib", "sklearn")


@pytest.fixture
def scenario(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenario.yaml").write_text(SCENARIO)
    return "scenario.yaml"


def fedsim(*words: str, **how: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "fedsim", *words]
    return subprocess.run(command, capture_output=True, text=True, **how)  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["check", "scenario.yaml"],
        ["ls"],
        ["list", "strategies"],
        ["list", "models"],
        ["explain", "rounds"],
        ["schema"],
        ["init", "demo"],
    ],
    ids=" ".join,
)
def test_a_light_command_loads_nothing_heavy(words: list[str], scenario: str) -> None:
    script = (
        "import sys; from fedsim.cli import main; code = main(sys.argv[1:])\n"
        f"print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "[]"
    assert done.returncode == 0


def test_what_is_right_is_said_with_what_to_do_next(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", scenario]) == 0
    out, err = capsys.readouterr()
    assert out == "scenario.yaml: ok (fedavg, 3 clients, 2 rounds)\n"
    assert err == "next: fedsim run scenario.yaml\n"


def test_all_faults_of_all_files_are_said_at_once(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.yaml").write_text(SCENARIO.replace("rounds: 2", "ruonds: 2"))
    assert main(["check", "bad.yaml", "absent.yaml", scenario]) == 2
    out, err = capsys.readouterr()
    assert "bad.yaml:2:1" in err
    assert "absent.yaml: no such file" in err
    assert "scenario.yaml: ok" in out


def test_faults_are_json_where_json_is_asked_for(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", scenario, "--set", "rounds=0", "--format", "json"]) == 2
    out, err = capsys.readouterr()
    assert [fault["key"] for fault in json.loads(out)] == ["rounds"]
    assert err == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rum"], "'run'"),
        (["run", "scenario.yaml", "--sed", "3"], "'--seed'"),
        (["data", "preveiw"], "'preview'"),
        (["list", "strategy"], "'strategies'"),
        (["run"], "FILE"),
        (["run", "scenario.yaml", "--run-dir", "a", "--out", "b"], "remove --out"),
        (["show", "runs/absent"], "does not exist"),
        (["resume", "runs/absent"], "does not exist"),
        (["explain", "ruonds"], "'rounds'"),
    ],
)
def test_a_misuse_exits_2_and_names_what_would_be_right(
    words: list[str], said: str, scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err


def test_without_a_command_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: fedsim" in "".join(capsys.readouterr())


def test_options_that_every_command_takes_stand_before_or_after_it(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-q", "check", scenario]) == main(["check", scenario, "-q"]) == 0
    assert capsys.readouterr().err == ""


def test_a_run_folder_is_never_overwritten(
    scenario: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("mine").mkdir()
    Path("mine", "thesis.tex").touch()
    assert main(["run", scenario, "--run-dir", "mine"]) == 2
    assert "not empty" in capsys.readouterr().err


def test_init_makes_a_scenario_that_is_right_and_overwrites_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "demo"]) == 0
    assert main(["check", "demo/scenario.yaml"]) == 0
    idea = "strategy=./my_idea.py:MyIdea"
    monkeypatch.chdir("demo")
    assert main(["check", "scenario.yaml", "--set", idea]) == 0
    assert main(["init"]) == 2
    assert "already has scenario.yaml" in capsys.readouterr().err


def test_schema_and_list_are_json_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "-q"]) == 0
    assert "properties" in json.loads(capsys.readouterr().out)
    assert main(["list", "strategies", "--format", "json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)}
    assert listed["fedprox"]["parameters"][0]["name"] == "mu"
    assert listed["fedavg"]["doc"].startswith("FedAvg")


def test_doctor_finds_what_is_installed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--format", "json"]) == 0
    found = {one["what"]: one["state"] for one in json.loads(capsys.readouterr().out)}
    assert found["torch"] == found["disk"] == "ok"


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fedsim 0.")


def test_a_reader_that_goes_away_is_met_in_silence() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "fedsim", "-q", "list", "strategies"],
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_flower_and_ray_are_told_not_to_call_home() -> None:
    program = "import fedsim, os; print(*(os.environ[name] for name in ARGS))".replace(
        "ARGS", repr(["FLWR_TELEMETRY_ENABLED", "RAY_USAGE_STATS_ENABLED"])
    )
    clean = {name: value for name, value in os.environ.items() if "FLWR" not in name}
    clean.pop("RAY_USAGE_STATS_ENABLED", None)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=clean, check=True
    )
    assert done.stdout.split() == ["0", "0"]


def test_no_colour_where_none_is_wanted(scenario: str) -> None:
    done = fedsim("check", scenario, "--no-color", env={**os.environ, "FORCE_COLOR": "1"})
    assert "\x1b[3" not in done.stdout + done.stderr


def test_an_unforeseen_error_is_one_line_and_its_traceback_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run")
    with pytest.raises(ZeroDivisionError) as raised, resumable(folder):
        raise ZeroDivisionError("by zero\nand more")
    assert tell(raised.value, Screen.of({})) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.replace("\n", "").startswith("error: ZeroDivisionError: by zero (this should")
    assert str(folder.path / "events.log") in err
    assert "ZeroDivisionError" in (folder.path / "events.log").read_text()


def test_a_stopped_run_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder.create(tmp_path / "run")
    folder.write("scenario.resolved.yaml", "")
    for stop, code in ((RunError("all clients failed"), 4), (KeyboardInterrupt(), 130)):
        with pytest.raises((RunError, Interrupted)) as stopped, resumable(folder):
            raise stop
        assert tell(stopped.value, Screen.of({})) == code
        assert f"next: fedsim resume {folder.path}" in capsys.readouterr().err


def test_a_run_from_check_to_show(scenario: str) -> None:
    done = fedsim("run", scenario, "--run-dir", "mine", "--set", "references=[local]")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    heads = [line.split()[0] for line in lines]
    assert heads[:3] == ["check", "data", "clients"]
    assert heads.count("round") == 2
    assert lines[-1] == "saved   mine"
    assert done.stderr == "next: fedsim show mine\n"
    shown = fedsim("show", "mine", "--format", "json")
    assert json.loads(shown.stdout)["run"]["status"] == "finished"
    again = fedsim("run", scenario, "--run-dir", "mine")
    assert (again.returncode, "fedsim resume mine" in again.stderr) == (2, True)
