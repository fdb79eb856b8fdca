"""Kernels are pinned before they are used, and what rests on them is looked at."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from fedsim import kernels
from fedsim.errors import RunError
from fedsim.models.mlp import MLP
from fedsim.per_sample.row_check import gradients_are_exact, outputs_are_exact
from fedsim.task import TargetSpec
from fedsim.tasks.classification import Classification

ROOT = Path(__file__).parents[2]
IS_X86 = platform.machine() in ("x86_64", "AMD64")
HAS_AVX2 = IS_X86 and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
NEEDS_AVX2 = pytest.mark.skipif(not HAS_AVX2, reason="this processor has no AVX2")

QUICKSTART = str(ROOT / "scenarios" / "quickstart.yaml")
CONVOLUTIONS = [
    *("rounds=2", "references=[]", "clients.count=4", "local.epochs=1"),
    "model={use: convnet, width: 16}",
]
PINNED = {
    "quickstart": "7dba204f164aa0b6df4",
    "convolutions": "0832e973c6c410ccbe9",
}
"""Hashes of final weights with compute.repeatable: anywhere, on whatever processor."""

CODE = """
import json, sys, tempfile
from pathlib import Path
from fedsim.scenario.load import load
hashes = []
for file, *changes in json.loads(sys.argv[1]):
    scenario = load(file, ["compute.repeatable=anywhere", "compute.backend=local", *changes])
    from fedsim.engine.run import run_scenario
    from fedsim.runlog.run_folder import RunFolder
    with tempfile.TemporaryDirectory() as folder:
        result = run_scenario(scenario, RunFolder(Path(folder)), lambda event: None)
        manifest = RunFolder(Path(folder)).read_json("manifest.json")
    hashes.append([result.weights_sha256, result.metrics_sha256])
print(json.dumps([hashes, manifest["repeatable"]]))
"""


def started(words: list[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, without the settings of this one."""
    names = kernels.PINS["anywhere"].keys()
    environment = {name: value for name, value in os.environ.items() if name not in names}
    return subprocess.run(
        [sys.executable, *words],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(ROOT), **settings},
    )


def hashes(runs: list[list[str]], settings: Mapping[str, str]) -> list[list[str]]:
    done = started(["-c", CODE, json.dumps(runs)], settings)
    assert done.returncode == 0, done.stderr
    found, repeatable = json.loads(done.stdout.splitlines()[-1])
    assert repeatable == {"where": "anywhere", "settings": dict(kernels.PINS["anywhere"])}
    return found  # type: ignore[no-any-return]


@NEEDS_AVX2
def test_anywhere_gives_one_hash_whatever_the_environment_asks_of_the_kernels() -> None:
    runs = [[QUICKSTART, "rounds=2", "references=[]"], [QUICKSTART, *CONVOLUTIONS]]
    first = hashes(runs, {})
    for settings in (
        {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
        {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "SSE41"},
        {"MKL_CBWR": "AVX512", "OPENBLAS_CORETYPE": "SkylakeX"},
    ):
        assert hashes(runs, settings) == first


@NEEDS_AVX2
def test_pinned_hashes_are_the_same_on_every_processor() -> None:
    runs = hashes([[QUICKSTART], [QUICKSTART, *CONVOLUTIONS]], {})
    found = {name: weights[:19] for name, (weights, _) in zip(PINNED, runs, strict=True)}
    assert found == PINNED, (
        "this processor refutes `compute.repeatable: anywhere`: please report it with what "
        "`fedsim doctor` says of it"
    )


@pytest.mark.skipif(not IS_X86, reason="anywhere is for x86-64")
def test_anywhere_is_refused_where_torch_was_used_before() -> None:
    if torch.backends.cpu.get_cpu_capability() == "AVX2":
        pytest.skip("this process happens to use AVX2")
    with pytest.raises(RunError, match="before torch and NumPy are loaded: start with fedsim run"):
        kernels.require("anywhere")


def test_anywhere_is_refused_on_other_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(RunError, match="needs an x86-64 processor with AVX2, and this is aarch64"):
        kernels.pin("anywhere")


@NEEDS_AVX2
def test_the_command_line_pins_and_resumes_with_the_same_pins(tmp_path: Path) -> None:
    run = tmp_path / "run"
    sets = ["--set", "compute.repeatable=anywhere", "--set", "rounds=2", "--set", "references=[]"]
    words = ["-m", "fedsim", "-q", "run", QUICKSTART, "--run-dir", str(run), *sets]
    assert started(words, {}).returncode == 0
    first = json.loads((run / "result.json").read_text())
    (run / "result.json").unlink()
    assert started(["-m", "fedsim", "-q", "resume", str(run)], {}).returncode == 0
    assert json.loads((run / "result.json").read_text()) == first
    assert started(["-m", "fedsim", "-q", "rerun", str(run), "--verify"], {}).returncode == 0


TEN = Classification(targets=TargetSpec(classes=10))


def test_rows_are_the_same_bits_wherever_they_stand() -> None:
    for size in (3, 14, 16):
        model = MLP((3, 12, 12), 10, hidden=(24,))
        assert outputs_are_exact(model, (3, 12, 12), TEN, size)
        assert gradients_are_exact(model, (3, 12, 12), TEN, size)


class Coupled(nn.Module):
    """A model whose rows depend on each other."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.layer(inputs)
        return logits - logits.mean(dim=0)


def test_a_model_whose_rows_depend_on_each_other_is_noticed() -> None:
    assert not outputs_are_exact(Coupled(), (6,), TEN, 8)


def test_a_run_says_where_the_bound_does_not_hold_to_the_last_bit(
    scenario, play, tmp_path: Path
) -> None:
    file = tmp_path / "coupled.py"
    file.write_text(
        "from fedsim.models.mlp import MLP\n"
        "class Coupled(MLP):\n"
        '    """Rows that depend on each other, by less than anybody sees."""\n'
        "    def forward(self, inputs):\n"
        "        logits = super().forward(inputs)\n"
        "        return logits + 1e-6 * logits.mean(dim=0)\n"
    )
    promise = {"unit": "record", "clip": 1.0, "noise_multiplier": 1.0, "delta": 1e-4}
    private = {
        "rounds": 1,
        "clients": {"count": 3},
        "strategy": {"use": "feddm", "epochs": 1},
        "local": {"use": "mean_embeddings", "images_per_class": 2, "steps": 2, "count_noise": 3.0},
        "privacy": {**promise, "rng": "simulation"},
    }
    for model, is_told in ((f"{file}:Coupled", True), ("mlp", False)):
        outcome = play(scenario(**private, model={"use": model, "hidden": [8]}))
        told = [note for note in outcome.notes if "sensitivity holds up to rounding only" in note]
        assert bool(told) == is_told
