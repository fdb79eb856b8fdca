"""A data set of the catalogue is read from its files as its authors describe them."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedsim.cli import main
from fedsim.data.catalogue_entries import entry_named, sha256_of
from fedsim.data.dataset import Array, Dataset
from fedsim.data.sources.catalogue import Catalogue
from fedsim.errors import DataError


@pytest.fixture(autouse=True)
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEDSIM_DATA", str(tmp_path))
    return tmp_path


def put(kept: Path, name: str, *contents: bytes) -> None:
    """Put files where ``fedsim data get`` puts them, in the order of the catalogue."""
    (kept / name).mkdir(exist_ok=True)
    checksums = {}
    for file, content in zip(entry_named(name).files, contents, strict=True):
        path = kept / name / file.name
        path.write_bytes(content)
        checksums[file.name] = sha256_of(path)
    (kept / name / "sha256.json").write_text(json.dumps(checksums))


def zipped(**members: bytes | str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def read(name: str, **parameters: str) -> Dataset:
    """Return the data set, once its header agrees with it as far as small files can."""
    source = Catalogue(name, **parameters)  # type: ignore[arg-type]
    header, dataset = source.peek(Path()), source.load(1, Path())
    inputs = header.fields["inputs"]
    assert inputs.dtype == dataset.inputs.dtype.name
    assert inputs.shape in (None, dataset.inputs.shape[1:])
    assert header.has_clients is (dataset.client is not None)
    assert bool(header.test_rows) is (dataset.test_inputs is not None)
    assert header.targets is not None
    assert (header.targets.kind == "classes") is (dataset.labels.dtype == np.int64)
    return dataset


def test_adult_has_a_test_file_that_writes_its_labels_in_another_way(kept: Path) -> None:
    row = "{}, State-gov, 77516, Bachelors, 13, Never-married, {}, Not-in-family, White, Male, "
    rest = "2174, 0, {}, United-States, {}\n"
    train = (row.format(39, "Sales") + rest.format(40, "<=50K")) * 2
    train += row.format(50, "?") + rest.format(13, ">50K") + "\n"
    test = "|1x3 Cross validator\n" + row.format(25, "Sales") + rest.format(40, ">50K.") + "\n"
    put(kept, "adult", train.encode(), test.encode())
    dataset = read("adult")
    assert dataset.class_names == ("<=50K", ">50K")
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.test_labels is not None
    assert dataset.test_labels.tolist() == [1]
    assert dataset.columns[0] == "age"
    assert "occupation=Sales" in dataset.columns
    assert "fnlwgt" not in dataset.columns
    assert dataset.inputs[:, dataset.columns.index("occupation=Sales")].tolist() == [1, 1, 0]
    by_marriage = read("adult", client="marital-status")
    assert by_marriage.client_names == ("Never-married",)
    assert not any(name.startswith("marital") for name in by_marriage.columns)


def test_hours_of_bike_sharing_are_amounts_without_their_own_parts(kept: Path) -> None:
    head = (
        "instant,dteday,season,yr,mnth,hr,holiday,weekday,workingday,weathersit,temp,atemp,hum,"
        "windspeed,casual,registered,cnt\n"
    )
    rows = "1,2011-01-01,1,0,1,0,0,6,0,1,0.24,0.2879,0.81,0,3,13,16\n"
    rows += "2,2011-01-01,2,0,1,1,0,6,0,1,0.22,0.2727,0.8,0,8,32,40\n"
    put(kept, "bike_sharing", zipped(**{"day.csv": "no", "hour.csv": head + rows}))
    dataset = read("bike_sharing")
    assert dataset.labels.tolist() == [16, 40]
    assert {"season=1", "season=2", "hr"} <= {*dataset.columns}
    assert not {"instant", "dteday", "casual", "registered", "cnt"} & {*dataset.columns}


def test_hospitals_and_colours_are_clients(kept: Path) -> None:
    row = "63.0,1.0,{},145.0,233.0,1.0,2.0,150.0,0.0,2.3,3.0,{},6.0,{}\n"
    places = ("cleveland", "hungarian", "switzerland", "va")
    files = {
        f"processed.{place}.data": row.format(k % 4 + 1.0, "?" if k % 2 else "0.0", k)
        for k, place in enumerate(places)
    }
    put(kept, "heart_disease", zipped(**files))
    heart = read("heart_disease")
    assert heart.labels.tolist() == [0, 1, 1, 1]
    assert heart.client_names == ("Budapest", "Cleveland", "Long Beach", "Zurich and Basel")
    assert heart.client is not None
    assert heart.client.tolist() == [1, 0, 3, 2]
    assert heart.has_gaps
    assert np.isnan(heart.inputs[:, heart.columns.index("ca")]).tolist() == [False, True] * 2
    with pytest.raises(DataError, match="lack 2 values"):
        read("heart_disease", missing="error")
    head = '"fixed acidity";"alcohol";"quality"\n'
    wines = {f"winequality-{c}.csv": f"{head}7.4;9.{k};{5 + k}\n" for k, c in
             enumerate(("red", "white"))}  # fmt: skip
    put(kept, "wine_quality", zipped(**wines))
    wine = read("wine_quality")
    assert (wine.columns, wine.labels.tolist()) == (("fixed acidity", "alcohol"), [5, 6])
    assert wine.client_names == ("red", "white")


def test_kinds_of_forest_are_numbered_from_0(kept: Path) -> None:
    rows = "\n".join(
        ",".join(str(value) for value in [2596 + k, *[k] * 9, *[0] * 44, k % 7 + 1])
        for k in range(14)
    )
    packed = gzip.compress(rows.encode())
    put(kept, "covertype", zipped(**{"covtype.data.gz": packed, "covtype.info": b""}))
    dataset = read("covertype")
    assert dataset.inputs.shape == (14, 54)
    assert dataset.columns[10:15] == (*(f"wilderness_area_{k}" for k in range(1, 5)), "soil_type_1")
    assert (dataset.classes, dataset.labels[:3].tolist()) == (7, [0, 1, 2])


def idx(array: Array) -> bytes:
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def test_pictures_of_idx_files_have_one_channel(kept: Path) -> None:
    pictures = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 251
    labels = np.array([9, 0, 4])
    put(kept, "fashion_mnist", *map(idx, (pictures, labels, pictures[:1], labels[:1])))
    dataset = read("fashion_mnist")
    assert dataset.inputs[:, 0].tolist() == pictures.tolist()
    assert dataset.labels.tolist() == [9, 0, 4]
    assert dataset.class_names[9] == "ankle boot"
    cut = gzip.compress(gzip.decompress(idx(pictures))[:-1])
    put(kept, "mnist", cut, *map(idx, (labels, pictures[:1], labels[:1])))
    with pytest.raises(DataError, match=r"bytes, no array of the shape \[3, 28, 28\]"):
        read("mnist")
    put(kept, "kmnist", gzip.compress(b"text"), *map(idx, (labels, pictures[:1], labels[:1])))
    with pytest.raises(DataError, match="is no IDX file of bytes"):
        read("kmnist")


def test_cifar_is_planes_of_colour_behind_a_label(kept: Path) -> None:
    record = np.arange(3072, dtype=np.int64) % 256
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for k, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
            content = bytes([k]) + record.astype(np.uint8).tobytes()
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    put(kept, "cifar10", out.getvalue())
    dataset = read("cifar10")
    assert dataset.inputs.shape == (5, 3, 32, 32)
    assert dataset.inputs[3].reshape(-1).tolist() == record.tolist()
    assert dataset.labels.tolist() == [0, 1, 2, 3, 4]
    assert dataset.test_labels is not None
    assert dataset.test_labels.tolist() == [5]


@pytest.mark.parametrize("is_nested", [True, False])
def test_people_of_har_are_clients(kept: Path, is_nested: bool) -> None:
    folder = "UCI HAR Dataset"
    files = {}
    for split, subjects in (("train", [1, 1, 3]), ("test", [2])):
        lines = [" ".join(f" {k + 0.5:.7e}" for _ in range(561)) for k in range(len(subjects))]
        files[f"{folder}/{split}/X_{split}.txt"] = "\n".join(lines) + "\n"
        files[f"{folder}/{split}/y_{split}.txt"] = "\n".join("564"[: len(subjects)]) + "\n"
        files[f"{folder}/{split}/subject_{split}.txt"] = "\n".join(map(str, subjects)) + "\n"
    content = zipped(**files)
    put(kept, "har_smartphones", zipped(**{f"{folder}.zip": content}) if is_nested else content)
    dataset = read("har_smartphones")
    assert dataset.inputs[:, 0].tolist() == [0.5, 1.5, 2.5]
    assert dataset.labels.tolist() == [4, 5, 3]
    assert dataset.client_names == ("1", "3")
    assert dataset.test_labels is not None
    assert dataset.test_labels.tolist() == [4]


SCENARIO = """\
kind: scenario
rounds: 1
data: {source: SOURCE, partition: natural}
model: mlp
task: regression
strategy: fedavg
"""


def test_a_run_and_a_check_say_how_to_get_what_is_not_here(
    kept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = kept / "s.yaml"
    scenario.write_text(SCENARIO.replace("SOURCE", "catalogue:wine_quality"))
    for command, code in ((["check", str(scenario)], 2), (["run", str(scenario)], 3)):
        assert main(command) == code
        assert "wine_quality is not here: run fedsim data get wine_quality" in (
            capsys.readouterr().err
        )
    head = '"fixed acidity";"alcohol";"quality"\n'
    rows = "".join(f"{7 + k / 10};9.{k};{5 + k % 3}\n" for k in range(9))
    wines = {f"winequality-{colour}.csv": head + rows for colour in ("red", "white")}
    put(kept, "wine_quality", zipped(**wines))
    assert main(["check", str(scenario)]) == 0
    scenario.write_text(SCENARIO.replace("SOURCE", "{use: catalogue, dataset: wine_qualty}"))
    assert main(["check", str(scenario)]) == 2
    assert "no data set is called 'wine_qualty'; did you mean" in capsys.readouterr().err
    pictures = "{use: catalogue, dataset: mnist, client: a}"
    scenario.write_text(SCENARIO.replace("SOURCE", pictures))
    assert main(["check", str(scenario)]) == 2
    assert "mnist is no table: it has no columns" in capsys.readouterr().err
