"""A function of the user's gives data: torch data sets, arrays or frames; what is amiss is said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.data.dataset import Dataset
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.frame import Frame
from fedsim.data.sources.torch import Torch
from fedsim.engine.run import run_scenario
from fedsim.engine.setup import opened
from fedsim.errors import DataError, RunFolderError, ScenarioError
from fedsim.export.prediction import predict
from fedsim.plugins.file_import import module_in
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

ARRAYS = """\
import numpy as np
import torch
from torch.utils.data import Dataset, TensorDataset

def arrays(rows=6, seed=None, folder=None):
    return np.arange(2.0 * rows).reshape(rows, 2), np.arange(rows) % 3

def tensors():
    x, y = arrays()
    return torch.tensor(x, dtype=torch.bfloat16), torch.tensor(y), ["b", "a", "b", "a", "a", "a"]

def images():
    return torch.zeros(4, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])

def tokens():
    return torch.tensor([[1, 2], [3, 4]]), torch.tensor([0, 1])

class Mine(Dataset):
    def __init__(self, rows=6, parts=3):
        self.rows, self.parts = rows, parts
    def __len__(self):
        return self.rows
    def __getitem__(self, at):
        return (torch.tensor([2.0 * at, 2 * at + 1]), at % 3, f"site {at // 3}")[: self.parts]

class Drawn(Mine):
    def __getitem__(self, at):
        return torch.rand(3), at % 2

def dataset(parts=3):
    return Mine(parts=parts)

def test_split():
    return arrays(rows=2)

def stacked():
    return TensorDataset(*map(torch.tensor, arrays()))

def pairs():
    return [([1.0, 2], 0), ([3.0, 4], 1)]

def given(seed, folder, size=0):
    return np.full((2, 1), float(seed)), np.array([size, 0])

def nothing():
    arrays()

def number():
    return 5

def frame():
    import pandas as pd
    return pd.DataFrame({"a": [1]})

def stream():
    return iter([(1, 2)])

def one():
    return (np.zeros((3, 2)),)

def uneven():
    return np.zeros((5, 2)), np.zeros(4, int)

def clients_uneven():
    return np.zeros((5, 2)), np.zeros(5, int), np.zeros(4, int)

def half_clients():
    return np.zeros((2, 2)), np.zeros(2, int), np.array([0, 0.5])

def none_clients():
    return np.zeros((2, 2)), np.zeros(2, int), ["a", None]

def flat_clients():
    return np.zeros((2, 2)), np.zeros(2, int), np.zeros((2, 1), int)

def ragged():
    return [[1.0, 2], [3.0]], [0, 1]

def ragged_items():
    return [(torch.zeros(2), 0), (torch.zeros(3), 1)]

def odd_items():
    return [(torch.zeros(2), 0), (torch.zeros(2), 1, 4)]

def late_floats():
    return [(torch.zeros(2, dtype=torch.int64), 0), (torch.zeros(2), 1)]

def no_pairs():
    return [torch.zeros(2)]

def empty():
    return []

class Broken(Mine):
    def __getitem__(self, at):
        return super().__getitem__(at) if at < 4 else 1 / 0

def raises():
    raise ValueError("no disk")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(ARRAYS)
    return tmp_path


def torch_data(folder: Path, name: str, **parameters: Any) -> Dataset:
    return Torch(f"mine.py:{name}", **parameters).load(1, folder)


@pytest.mark.parametrize("name", ["arrays", "tensors", "dataset", "Mine", "stacked"])
def test_arrays_tensors_and_items_give_the_same_examples(place: Path, name: str) -> None:
    dataset = torch_data(place, name)
    assert dataset.inputs.dtype == np.float32
    assert dataset.inputs.tolist() == np.arange(12).reshape(6, 2).tolist()
    assert dataset.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert dataset.classes == 3
    assert dataset.test_inputs is None


def test_a_third_part_makes_natural_clients(place: Path) -> None:
    numbered = torch_data(place, "tensors")
    assert numbered.client is not None
    assert (numbered.client.tolist(), numbered.client_names) == ([1, 0, 1, 0, 0, 0], ("a", "b"))
    items = torch_data(place, "dataset")
    assert items.client is not None
    assert (items.client.tolist(), items.client_names) == ([0] * 3 + [1] * 3, ("site 0", "site 1"))
    assert torch_data(place, "dataset", arguments={"parts": 2}).client is None


def test_pictures_get_a_channel_and_integers_are_tokens(place: Path) -> None:
    images = torch_data(place, "images")
    assert images.inputs.shape == (4, 1, 8, 8)
    assert images.inputs.dtype == np.uint8
    assert torch_data(place, "tokens").inputs.dtype == np.int64
    assert torch_data(place, "tokens", inputs_as="numbers").inputs.dtype == np.float32
    assert torch_data(place, "pairs").inputs.tolist() == [[1, 2], [3, 4]]


def test_a_function_is_given_what_it_asks_for(place: Path) -> None:
    asked = torch_data(place, "given", arguments={"size": 1})
    assert asked.inputs.tolist() == [[1], [1]]
    assert asked.labels.tolist() == [1, 0]
    assert len(torch_data(place, "arrays", arguments={"rows": 3})) == 3


def test_the_test_split_is_a_function_of_the_same_file_or_of_another(place: Path) -> None:
    (place / "other.py").write_text(ARRAYS)
    for test in ("test_split", "other.py:test_split"):
        split = torch_data(place, "arrays", test=test)
        assert split.test_labels is not None
        assert (len(split), split.test_labels.tolist()) == (6, [0, 1])


def test_items_that_are_drawn_are_the_same_each_time(place: Path) -> None:
    first, second = torch_data(place, "Drawn"), torch_data(place, "Drawn")
    assert first.inputs.tolist() == second.inputs.tolist()
    other = Torch("mine.py:Drawn").load(2, place)
    assert other.inputs.tolist() != first.inputs.tolist()


WRONG = [
    ("nothing", "mine.py:nothing returned None; a torch Dataset, "),
    ("number", "returned a int; "),
    ("frame", "DataFrame of the shape .* the source of a DataFrame is called frame"),
    ("stream", "returned a list_iterator; .* what has no length cannot be read"),
    ("one", "returned 1 arrays; "),
    ("uneven", "returned 5 inputs, 4 labels: there must be as many"),
    ("clients_uneven", "returned 5 inputs, 5 labels, 4 client"),
    ("half_clients", "clients of the type float64, such as 0.5; integers or texts are expected"),
    ("none_clients", "hold NoneType, str; numbers or texts are expected"),
    ("flat_clients", r"clients of the shape \(2, 1\); one each is expected"),
    ("ragged", r"inputs .* are ragged: example 1 has the shape \(1,\), example 0 \(2,\)"),
    ("ragged_items", r"item 1 .* has an input of the shape \(3,\), item 0 \(2,\)"),
    (
        "odd_items",
        "item 1 of mine.py:odd_items has input, target, client; item 0 has input, target",
    ),
    ("late_floats", "item 1 of .* has an input float32, item 0 int64"),
    ("no_pairs", r"item 0 of .* is a torch.Tensor of the shape \(2,\); \(input, target\)"),
    ("empty", "returned a list without an item"),
    ("Broken", "item 4 of mine.py:Broken cannot be read: ZeroDivisionError: division by zero"),
    ("raises", r"mine.py:raises raised ValueError: no disk \(line \d+\)"),
]


@pytest.mark.parametrize(("name", "message"), WRONG, ids=[name for name, _ in WRONG])
def test_what_is_no_data_is_named(place: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        torch_data(place, name)


ABSENT: list[tuple[str, dict[str, Any], str, str]] = [
    ("mine.py:array", {}, "mine.py has no function array; did you mean 'arrays'?", "path"),
    ("mine.py", {}, "'mine.py' names no function; ./file.py:NAME is expected", "path"),
    ("no.py:make", {}, "there is no file", "path"),
    ("bad.py:make", {}, "bad.py: line 1", "path"),
    ("mine.py:arrays", {"test": "tests"}, "mine.py has no function tests", "test"),
    ("mine.py:arrays", {"arguments": {"row": 2}}, "takes no argument 'row'; did you mean 'rows'?",
     "arguments"),
    ("mine.py:needy", {}, "mine.py:needy needs 'size': say arguments: {size: ...}", "arguments"),
    ("mine.py:arrays", {"arguments": {"seed": 2}}, "is given it: leave it out", "arguments"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "more", "message", "parameter"), ABSENT)
def test_what_is_not_there_is_known_without_running_the_file(
    place: Path, path: str, more: dict[str, Any], message: str, parameter: str
) -> None:
    (place / "mine.py").write_text(ARRAYS + "\ndef needy(size):\n    return size\n")
    (place / "bad.py").write_text("def (\n")
    for source in (Torch(path, **more), Frame(path, **more)):
        for verb in (source.peek, lambda folder, source=source: source.load(1, folder)):
            with pytest.raises(DataError) as caught:
                verb(place)
            assert message in str(caught.value)
            assert caught.value.parameter == parameter


def test_check_runs_nothing_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pathlib import Path\nPath('ran').touch()\ndef make():\n    return [], []\n"
    )
    scenario = tmp_path / "s.yaml"
    scenario.write_text(SCENARIO.format(source="torch:./mine.py:make", count=2))
    code = (
        "import sys; from fedsim.cli.app import main\n"
        "code = main(['check', sys.argv[1]])\n"
        "assert not {'numpy', 'torch', 'pandas'} & set(sys.modules), 'imported'\n"
        "sys.exit(code)"
    )
    command = [sys.executable, "-c", code, str(scenario)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    scenario.write_text(SCENARIO.format(source="{use: frame, path: ./mine.py:mak}", count=2))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert "s.yaml:4" in done.stderr
    assert "mine.py has no function mak; did you mean 'make'?" in done.stderr
    assert not (tmp_path / "ran").exists()


SCENARIO = """\
kind: scenario
rounds: 2
data:
  source: {source}
  partition: iid
model: {{use: mlp, hidden: [4]}}
clients: {{count: {count}}}
strategy: fedavg
compute: {{backend: local}}
output: {{dir: runs}}
"""


def test_a_scenario_finds_the_function_beside_the_file_that_names_it(place: Path) -> None:
    (place / "s.yaml").write_text(SCENARIO.format(source="torch:./mine.py:arrays", count=2))
    (place / "below").mkdir()
    (place / "below" / "t.yaml").write_text("extends: ../s.yaml\n")
    scenario = load(place / "below" / "t.yaml")
    assert scenario.data.source.use == "torch"
    assert scenario.data.source.parameters["path"] == str(place / "mine.py:arrays")
    (place / "s.yaml").write_text(SCENARIO.format(source="torch:./no.py:arrays", count=2))
    with pytest.raises(ScenarioError, match=r"there is no file or folder .*no.py'?$"):
        load(place / "s.yaml")


FRAME = """\
import pandas as pd

def make(rows=60):
    print("called")
    numbers = list(range(rows))
    return pd.DataFrame({
        "size": pd.array([k % 7 for k in numbers], dtype="Int64"),
        "ok": [k % 2 == 0 for k in numbers],
        "job": pd.Categorical([["cook", "nurse", "pilot"][k % 3] for k in numbers]),
        "site": [["north", "south"][k % 2] for k in numbers],
        "part": ["test" if k % 5 == 0 else "train" for k in numbers],
        "much": [1.0 + k for k in numbers],
        3: [0.5 * k for k in numbers],
        "label": [["ill", "well"][k % 7 > 2] for k in numbers],
    }, index=[f"row {k}" for k in numbers])

def twice():
    return pd.concat([make(), make()], axis=1)

def series():
    return make()["size"]

def empty():
    return make(0)
"""
COLUMNS: dict[str, Any] = {"client": "site", "weight": "much", "split": "part"}


def test_a_frame_is_read_as_the_same_table_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "f.py").write_text(FRAME)
    dataset = Frame("f.py:make", **COLUMNS).load(1, tmp_path)
    assert dataset.columns == ("size", "ok", "job=cook", "job=nurse", "job=pilot", "3")
    assert (len(dataset), dataset.class_names) == (48, ("ill", "well"))
    assert dataset.client_names == ("north", "south")
    assert dataset.test_inputs is not None
    assert len(dataset.test_inputs) == 12
    assert dataset.test_weight is not None
    assert dataset.test_weight[:2].tolist() == [1, 6]
    module_in(tmp_path / "f.py").make().assign(ok=lambda f: f["ok"].astype(int)).to_csv(
        tmp_path / "f.csv", index=False
    )
    of_file = Csv("f.csv", **COLUMNS).load(1, tmp_path)
    assert of_file.columns == dataset.columns
    for name in ("inputs", "labels", "client", "weight", "test_inputs", "test_labels"):
        assert getattr(dataset, name).tolist() == getattr(of_file, name).tolist()
    assert of_file.table == tuple(Csv("f.csv", **COLUMNS).plan(tmp_path)) == dataset.table


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("twice", {}, "returned a frame with two columns 'size'"),
        ("series", {}, r"returned a pandas.*Series of the shape \(60,\); a pandas DataFrame"),
        ("empty", {}, "returned a frame without a row"),
        ("make", {"label": "labels"}, "f.py: no column 'labels'; there are size, ok"),
        ("make", {"split": "job"}, "column 'job' holds 'cook'; train or test is expected"),
        ("make", {"split": "part", "test": "make"}, "in a file of its own: drop one"),
    ],
)
def test_what_is_no_table_is_named(
    tmp_path: Path, name: str, more: dict[str, Any], message: str
) -> None:
    (tmp_path / "f.py").write_text(FRAME)
    with pytest.raises(DataError, match=message):
        Frame(f"f.py:{name}", **more).load(1, tmp_path)


def test_a_run_calls_the_function_once_and_notices_that_it_gives_something_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "f.py").write_text(
        FRAME + "\ndef read(folder):\n    return make(int((folder / 'rows.txt').read_text()))\n"
    )
    (tmp_path / "rows.txt").write_text("60")
    source = "{use: frame, path: ./f.py:read, client: site, weight: much, split: part}"
    (tmp_path / "s.yaml").write_text(SCENARIO.format(source=source, count=2))
    scenario, folder = load(tmp_path / "s.yaml"), RunFolder.create(tmp_path / "run")
    run_scenario(scenario, folder, lambda _: None)
    assert capsys.readouterr().out.count("called") == 1
    new = tmp_path / "new.csv"
    new.write_text("size,ok,job,3\n1,1,pilot,2.5\n")
    assert predict(folder, new)["label"][0] in ("ill", "well")
    shutil.rmtree(folder.store, ignore_errors=True)
    assert opened(scenario, folder, []).table[2].values == ("cook", "nurse", "pilot")
    shutil.rmtree(folder.store)
    (tmp_path / "rows.txt").write_text("70")
    with pytest.raises(RunFolderError, match="has changed since the run began"):
        opened(scenario, folder, [])


def test_the_example_of_the_page_gives_the_same_both_ways(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    code = page.split('```python\n"""Two ways')[1].split("```")[0]
    (tmp_path / "walks.py").write_text('"""Two ways' + code)
    items = Torch("walks.py:training", {"walks": 30}, test="held_out").load(1, tmp_path)
    columns: dict[str, Any] = {"label": "tired", "client": "person", "split": "split"}
    frame = Frame("walks.py:table", **columns, arguments={"walks": 30}).load(1, tmp_path)
    for name in ("inputs", "labels", "test_inputs", "test_labels"):
        assert getattr(items, name).tolist() == getattr(frame, name).tolist()
    assert items.client is not None
    assert frame.client is not None
    assert len({*zip(items.client.tolist(), frame.client.tolist(), strict=True)}) == 3
