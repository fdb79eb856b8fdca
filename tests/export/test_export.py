"""A trained model leaves: raw inputs in, the same predictions out, where there is no fedsim."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from fedsim.cli.app import main
from fedsim.data.federated import prepare
from fedsim.export.deployed import deployed, model_of
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

ROWS = 1000

OUTSIDE = """
import json, sys
import numpy as np, torch
raw = torch.from_numpy(np.load(sys.argv[1]))
if sys.argv[2] == "torchscript":
    out = torch.jit.load(sys.argv[3])(raw)
elif sys.argv[2] == "pt2":
    out = torch.export.load(sys.argv[3]).module()(raw)
else:
    from safetensors.torch import load_file
    weights = load_file(sys.argv[3])
    constants = json.load(open(sys.argv[3].replace(".safetensors", ".preprocessing.json")))
    fill, centre, spread = (torch.tensor(constants[k]) for k in ("fill", "centre", "spread"))
    x = (torch.where(raw.isnan(), fill, raw) - centre) / spread
    x = torch.relu(x @ weights["body.1.weight"].T + weights["body.1.bias"])
    out = (x @ weights["head.weight"].T + weights["head.bias"]).softmax(dim=1)
assert "fedsim" not in sys.modules
np.save(sys.argv[4], out.detach().numpy())
"""


def table(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    age, colour = rng.integers(18, 80, rows).astype(float), rng.choice(["red", "green"], rows)
    income = rng.normal(3e4, 8e3, rows)
    bought = np.where((age > 45) | (income > 36000), "yes", "no")
    age[rng.random(rows) < 0.05] = np.nan
    return pd.DataFrame({"age": age, "colour": colour, "income": income, "bought": bought})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run on a table with absent numbers and categories."""
    folder = tmp_path_factory.mktemp("shop")
    table(400, 1).to_csv(folder / "shop.csv", index=False)
    table(ROWS, 2).drop(columns="bought").to_csv(folder / "new.csv", index=False)
    (folder / "shop.yaml").write_text(
        "rounds: 5\ndata: {source: {use: csv, path: shop.csv, label: bought, missing: mean}}\n"
        "model: {use: mlp, hidden: [16]}\nclients: {count: 4}\nlocal: {lr: 0.1}\n"
        "strategy: fedavg\ncompute: {backend: local}\n"
    )
    assert main(["run", str(folder / "shop.yaml"), "--run-dir", str(folder / "run"), "-q"]) == 0
    return folder / "run"


def raw_inputs(run: Path) -> np.ndarray:
    """Return the new table as the exported model takes it, columns in the file's order."""
    frame = pd.read_csv(run.parent / "new.csv")
    constants = json.loads((run / "preprocessing.json").read_text())
    assert constants["columns"] == ["age", "colour=green", "colour=red", "income"]
    hot = [(frame["colour"] == name).to_numpy(float) for name in ("green", "red")]
    columns = [frame["age"].to_numpy(), *hot, frame["income"].to_numpy()]
    return np.stack(columns, axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", ["torchscript", "pt2", "safetensors"])
def test_a_process_without_fedsim_predicts_the_same(kind: str, run: Path, tmp_path: Path) -> None:
    file = tmp_path / f"model.{ {'torchscript': 'pt'}.get(kind, kind) }"
    assert main(["export", str(run), "--to", kind, "--out", str(file)]) == 0
    np.save(tmp_path / "raw.npy", raw := raw_inputs(run))
    command = [sys.executable, "-c", OUTSIDE, str(tmp_path / "raw.npy"), kind, str(file)]
    subprocess.run([*command, str(tmp_path / "out.npy")], check=True, cwd=tmp_path)
    inside = deployed(RunFolder.open(run))(torch.from_numpy(raw)).detach().numpy()
    outside = np.load(tmp_path / "out.npy")
    assert outside.shape == (ROWS, 2)
    assert np.abs(outside - inside).max() < 1e-6
    main(["predict", str(run), str(run.parent / "new.csv"), "--out", str(tmp_path / "p.csv")])
    frame = pd.read_csv(tmp_path / "p.csv")
    assert list(frame.columns) == ["label", "p_no", "p_yes"]
    assert np.abs(frame[["p_no", "p_yes"]].to_numpy() - outside).max() < 1e-6


def test_what_leaves_is_what_the_server_evaluated(run: Path, tmp_path: Path) -> None:
    folder = RunFolder.open(run)
    scenario, result = load(folder.scenario), folder.result()
    assert result is not None
    test = prepare(scenario, tmp_path / "store").server_test()
    with torch.no_grad():
        labels = model_of(folder)(test.inputs).argmax(dim=1)
    assert float((labels == test.labels).double().mean()) == result.accuracy


@pytest.mark.parametrize(
    ("columns", "words"),
    [({"colour": "size"}, "no column 'colour'"), ({"age": "x"}, "no column 'age'")],
)
def test_other_columns_are_one_clear_fault(columns, words, run: Path, tmp_path, capsys) -> None:
    file = tmp_path / "other.csv"
    pd.read_csv(run.parent / "new.csv").rename(columns=columns).to_csv(file, index=False)
    assert main(["predict", str(run), str(file), "--out", str(tmp_path / "p.csv")]) in (2, 3)
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_a_run_without_weights_or_constants_says_what_to_do(run: Path, tmp_path, capsys) -> None:
    import shutil

    for name, words in (("model.safetensors", "fedsim resume"), ("preprocessing.json", "rerun")):
        copy = tmp_path / name.partition(".")[0]
        shutil.copytree(run, copy)
        (copy / name).unlink()
        assert main(["export", str(copy)]) == 2
        assert words in capsys.readouterr().err
