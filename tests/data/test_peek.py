"""Headers tell what loading finds, and what does not fit is a fault before anything is read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedsim.cli import main
from fedsim.data.fit import data_faults
from fedsim.data.header import Header
from fedsim.data.parquet_footer import read_footer
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.digits import Digits
from fedsim.data.sources.folder import Folder
from fedsim.data.sources.npz import Npz
from fedsim.data.sources.parquet import Parquet
from fedsim.errors import DataError
from fedsim.scenario.load import load

X = np.zeros((6, 5), np.float32)
Y = np.array([0, 1, 2, 0, 1, 2])


def agrees(source: Any, folder: Path) -> Header:
    """Return the source's header, once all that it says is what loading finds."""
    header: Header = source.peek(folder)
    dataset = source.load(1, folder)
    assert header.rows in (None, len(dataset))
    assert header.test_rows == (0 if dataset.test_inputs is None else len(dataset.test_inputs))
    inputs = header.fields["inputs"]
    assert inputs.shape in (None, dataset.inputs.shape[1:])
    assert inputs.dtype == dataset.inputs.dtype.name
    assert header.targets is not None
    assert header.targets.shape == dataset.labels.shape[1:]
    assert header.classes in (None, dataset.classes)
    assert header.has_clients in (None, dataset.client is not None)
    assert header.has_domains in (None, dataset.domain is not None)
    return header


@pytest.mark.parametrize(
    ("arrays", "kind"),
    [
        ({"x": X, "y": Y}, "numeric"),
        ({"x": X.astype(float), "y": Y / 2, "client": Y}, "numeric"),
        ({"x": np.zeros((6, 8, 9), np.uint8), "y": Y, "domain": Y}, "image"),
        ({"x": np.zeros((6, 8, 9, 3)), "y": Y, "x_test": np.zeros((1, 8, 9, 3)), "y_test": [0]},
         "image"),
        ({"x": np.zeros((6, 12), np.int32), "y": np.zeros((6, 12), np.int16)}, "tokens"),
        ({"x": np.zeros((6, 12), np.uint8), "y": Y > 0}, "numeric"),
        ({"x": np.zeros(6), "y": Y.astype(str)}, "numeric"),
    ],
)  # fmt: skip
def test_an_npz_is_what_its_headers_tell(tmp_path: Path, arrays: dict[str, Any], kind: str) -> None:
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    assert agrees(Npz("a.npz"), tmp_path).fields["inputs"].kind == kind


FRAME = pd.DataFrame(
    {
        "a": [1.5, 2, 3, 4, 5, 6],
        "job": ["x", "y", "x", "y", "x", "y"],
        "site": [1, 1, 2, 2, 3, 3],
        "label": [1, 0, 2, 1, 0, 2],
    }
)


def test_a_table_is_what_its_first_lines_or_its_footer_tell(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    FRAME.to_parquet(tmp_path / "a.parquet")
    csv = agrees(Csv("a.csv", client="site"), tmp_path)
    parquet = agrees(Parquet("a.parquet", client="site", test="a.parquet"), tmp_path)
    assert csv.columns == parquet.columns == ("a", "job")
    assert csv.targets == parquet.targets
    assert parquet.rows == 6


def test_a_footer_is_read_as_pyarrow_reads_it(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "whole": pa.array([1, 2], pa.int32()),
            "long": pa.array([1, 2], pa.int64()),
            "real": pa.array([1.0, 2.0], pa.float64()),
            "text": ["a", "b"],
            "yes": [True, False],
            "list": [[1, 2], [3]],
            "day": pa.array([1, 2], pa.date32()),
            **{f"more{k}": [1.0, 2.0] for k in range(40)},
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    footer = read_footer(tmp_path / "a.parquet")
    assert footer.rows == 2
    assert [*footer.columns] == table.column_names
    kinds = [footer.columns[name] for name in table.column_names[:7]]
    assert kinds == ["int32", "int64", "float64", "text", "bool", "list", "date"]


def test_folders_are_what_their_names_and_one_picture_tell(tmp_path: Path) -> None:
    from PIL import Image

    for number, file in enumerate(["train/cat/1.png", "train/dog/2.png", "test/cat/3.png"]):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 3), (number, 0, 0)).save(tmp_path / file)
    assert agrees(Folder("."), tmp_path).class_names == ("cat", "dog")
    assert agrees(Folder(".", size=7, colour="grey"), tmp_path).rows == 2


def test_digits_are_what_they_say_of_themselves() -> None:
    agrees(Digits(), Path())


@pytest.mark.parametrize(
    ("source", "message", "parameter"),
    [
        (Npz("no.npz"), "there is no ", "path"),
        (Npz("a.csv"), "no archive of arrays", ""),
        (Npz("a.npz", labels="sign"), "no array is called 'sign'; there are x, y", "labels"),
        (Csv("a.csv", label="cost"), "no column 'cost'; there are a, job", "label"),
        (Csv("a.csv", client="who"), "no column 'who'", "client"),
        (Csv("a.csv", features=("b",)), "no column 'b'", "features"),
        (Csv("a.csv", test="b.csv"), "there is no .*b.csv", "path"),
        (Parquet("a.csv"), "no Parquet file", ""),
        (Folder("empty"), "no pictures", ""),
    ],
)
def test_what_is_not_there_is_known_from_headers(
    tmp_path: Path, source: Any, message: str, parameter: str
) -> None:
    FRAME.to_csv(tmp_path / "a.csv", index=False)
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "empty" / "cat").mkdir(parents=True)
    with pytest.raises(DataError, match=message) as caught:
        source.peek(tmp_path)
    assert caught.value.parameter == parameter


SCENARIO = """\
kind: scenario
rounds: 1
data:
  source: {{use: {use}, path: {path}{more}}}
  partition: {partition}
model: mlp
clients: {{count: {count}}}
strategy: fedavg
"""


def faults(folder: Path, path: str, **words: Any) -> list[tuple[str, str]]:
    words = {"more": "", "partition": "iid", "count": 2, "use": path.rpartition(".")[2], **words}
    (folder / "s.yaml").write_text(SCENARIO.format(path=path, **words))
    return [(fault.key, fault.message) for fault in data_faults(load(folder / "s.yaml"))]


@pytest.mark.parametrize(
    ("path", "words", "key", "message"),
    [
        ("floats.npz", {}, "data.source", "the targets are float32, no class numbers"),
        ("marks.npz", {}, "data.source", "each target has the shape (3,)"),
        ("tokens.npz", {}, "model", "mlp takes numbers, and the inputs are token ids"),
        ("good.npz", {"partition": "natural", "count": "null"}, "data.partition",
         "the natural partition needs each example's client"),
        ("good.npz", {"partition": "domains"}, "data.partition", "the domains partition needs"),
        ("good.npz", {"count": 7}, "clients.count", "7 clients cannot share 6 examples"),
        ("good.npz", {"more": ", client: who"}, "data.source.client", "no array is called 'who'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_a_fault_at_its_key(
    tmp_path: Path, path: str, words: dict[str, Any], key: str, message: str
) -> None:
    np.savez(tmp_path / "good.npz", x=X, y=Y)
    np.savez(tmp_path / "floats.npz", x=X, y=Y.astype(np.float32))
    np.savez(tmp_path / "marks.npz", x=X, y=np.zeros((6, 3), bool))
    np.savez(tmp_path / "tokens.npz", x=X.astype(int), y=Y)
    assert faults(tmp_path, "good.npz") == []
    ((where, what),) = faults(tmp_path, path, **words)
    assert where == key
    assert message in what


def test_check_says_it_at_the_line_and_imports_no_numpy(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y.astype(np.float32))
    assert faults(tmp_path, "a.npz")
    code = (
        "import sys; from fedsim.cli.app import main\n"
        "code = main(['check', sys.argv[1]])\n"
        "assert not {'numpy', 'torch', 'pandas'} & set(sys.modules), 'imported'\n"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "s.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "s.yaml:4:" in done.stderr
    assert "data.source: the targets are float32" in done.stderr
    assert "imported" not in done.stderr


STUDY = """\
kind: study
name: two
base: base.yaml
axes:
  strategy: [fedavg, fedavgm]
seeds: [1, 2]
"""


def test_check_looks_at_the_data_of_a_study(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    base = SCENARIO.format(use="npz", path="a.npz", more="", partition="iid", count=2)
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "s.yaml").write_text(STUDY)
    assert main(["check", str(tmp_path / "s.yaml")]) == 0
    np.savez(tmp_path / "a.npz", x=X, y=Y.astype(np.float32))
    capsys.readouterr()
    assert main(["check", str(tmp_path / "s.yaml")]) == 2
    assert capsys.readouterr().err.count("the targets are float32") == 1
