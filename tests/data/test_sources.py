"""Sources read what is there, in the shapes that models take, and name what is not."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fedsim.data.dataset import Dataset
from fedsim.data.imputation import imputed, training_means
from fedsim.data.sources.csv import Csv
from fedsim.data.sources.digits import Digits
from fedsim.data.sources.digits_domains import DigitsDomains
from fedsim.data.sources.folder import Folder
from fedsim.data.sources.hf import Hf
from fedsim.data.sources.npz import Npz
from fedsim.data.sources.parquet import Parquet
from fedsim.errors import DataError, MissingPackage

NAN = np.nan


def npz(folder: Path, arrays: dict[str, Any], **parameters: Any) -> Dataset:
    np.savez(folder / "a.npz", **arrays)
    return Npz("a.npz", **parameters).load(1, folder)


def csv(folder: Path, text: str, **parameters: Any) -> Dataset:
    (folder / "a.csv").write_text(text)
    return Csv("a.csv", **parameters).load(1, folder)


def test_digits_are_images_in_0_to_1() -> None:
    digits = Digits().load(1, Path())
    assert digits.inputs.shape == (1797, 1, 8, 8)
    assert (digits.inputs.min(), digits.inputs.max()) == (0, 1)
    assert digits.test_inputs is None


def test_every_digit_is_in_one_domain_in_proportion() -> None:
    digits, parts = Digits().load(1, Path()), DigitsDomains().load(1, Path())
    assert parts.test_labels is not None
    assert parts.test_domain is not None
    assert parts.domain is not None
    both = np.concatenate([parts.labels, parts.test_labels])
    assert np.bincount(both).tolist() == np.bincount(digits.labels).tolist()
    table = np.zeros((5, 10))
    np.add.at(table, (parts.domain, parts.labels), 1)
    assert np.ptp(table, axis=0).max() <= 5
    assert len(parts.test_labels) == pytest.approx(1797 / 5, abs=5)


def test_domains_draw_alike_signs_unlike() -> None:
    parts = DigitsDomains(domains=("plain", "inverted")).load(1, Path())
    assert parts.domain_names == ("plain", "inverted")
    ink = [parts.inputs[parts.domain == domain].mean() for domain in (0, 1)]
    assert ink[0] < 0.4 < 0.6 < ink[1]


def test_a_domain_named_twice_is_refused() -> None:
    with pytest.raises(DataError, match="each may be named once"):
        DigitsDomains(domains=("plain", "plain")).load(1, Path())


@pytest.mark.parametrize(
    ("stored", "expected"),
    [((4, 8, 6), (4, 1, 8, 6)), ((4, 8, 6, 3), (4, 3, 8, 6)), ((4, 3, 8, 6), (4, 3, 8, 6)),
     ((4, 5), (4, 5)), ((4,), (4, 1))],
)  # fmt: skip
def test_npz_images_have_their_channels_first(
    tmp_path: Path, stored: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    dataset = npz(tmp_path, {"x": np.zeros(stored, np.uint8), "y": np.array([0, 1, 2, 0])})
    assert dataset.inputs.shape == expected
    assert dataset.inputs.dtype == np.uint8
    assert dataset.classes == 3


def test_npz_finds_test_split_clients_and_domains_by_their_usual_keys(tmp_path: Path) -> None:
    dataset = npz(
        tmp_path,
        {
            "x_train": np.ones((3, 2)), "y_train": np.array([0, 1, 1], np.uint8),
            "x_test": np.ones((1, 2)), "y_test": np.array([2], np.uint8),
            "client_train": np.array(["b", "a", "b"]),
            "domain_train": np.array([1, 0, 1]), "domain_test": np.array([1]),
            "domain_names": np.array(["ink", "paint"]),
        },
    )  # fmt: skip
    assert dataset.inputs.dtype == np.float32
    assert dataset.classes == 3
    assert dataset.client is not None
    assert dataset.client.tolist() == [1, 0, 1]
    assert dataset.client_names == ("a", "b")
    assert dataset.domain_names == ("ink", "paint")
    assert dataset.test_domain is not None
    assert dataset.test_domain.tolist() == [1]


def test_npz_keys_can_be_named(tmp_path: Path) -> None:
    arrays = {"pixels": np.ones((2, 3)), "sign": np.array([1, 0]), "writer": np.array([4, 4])}
    dataset = npz(tmp_path, arrays, inputs="pixels", labels="sign", client="writer")
    assert dataset.labels.tolist() == [1, 0]
    assert dataset.client_names == ("4",)


def test_npz_tables_have_categories_one_hot_and_gaps_filled(tmp_path: Path) -> None:
    arrays = {
        "x_train": np.array([[1.0, 0], [NAN, 2], [5, NAN]]),
        "y_train": np.array([0, 1, 0]),
        "x_test": np.array([[NAN, 7.0]]),
        "y_test": np.array([1]),
        "is_categorical": np.array([False, True]),
    }
    dataset = npz(tmp_path, arrays, categorical="is_categorical", missing="mean")
    fill = training_means(dataset.inputs, np.arange(3), are_columns=True)
    assert imputed(dataset.inputs, fill).tolist() == [[1, 1, 0], [3, 0, 1], [5, 0, 0]]
    assert dataset.test_inputs is not None
    assert imputed(dataset.test_inputs, fill).tolist() == [[3, 0, 0]]


TWO = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("arrays", "parameters", "message"),
    [
        ({"pixels": TWO, "y": [0, 1]}, {}, "no array looks like inputs; .* one of pixels, y"),
        ({"x": TWO, "y": [0, 1]}, {"labels": "sign"}, "no array is called 'sign'; there are x, y"),
        ({"x": TWO, "y": [0, 1, 1]}, {}, r"the labels have the shape \(3,\) where \(2,\)"),
        ({"x": TWO, "y": [0.5, NAN]}, {}, "the labels hold 1 values that are NaN"),
        ({"x": TWO, "y": [1j, 1]}, {}, "the labels are complex128; they must be integers"),
        ({"x": TWO[:, :0], "y": [0, 1]}, {}, "there is nothing to learn from"),
        ({"x": TWO, "y": [0, 1], "client": [NAN, 1]}, {}, "clients or domains lack 1 values"),
        ({"x": TWO.astype(int) - 1, "y": [0, 1]}, {}, "token ids start from 0: say inputs_as"),
        ({"x": TWO + NAN, "y": [0, 1]}, {}, r"lack 6 values \(NaN\); say missing: mean"),
        ({"x": TWO + np.inf, "y": [0, 1]}, {}, "hold 6 values that are NaN or infinite"),
        ({"x": TWO[:0], "y": np.zeros(0, int)}, {}, "the inputs are empty"),
        ({"x": TWO, "y": [0, 1], "x_test": TWO}, {}, "a test split needs both"),
        (
            {"x": TWO, "y": [0, 1], "x_test": TWO[:, :2], "y_test": [0, 1]},
            {},
            r"a training example is float32 \(3,\), a test example float32 \(2,\)",
        ),
        ({"x": TWO, "y": [0, 9], "class_names": ["a"]}, {}, "1 class names for 10 classes"),
        ({"x": TWO, "y": [0, 1], "client": [0]}, {}, r"the client numbers have the shape \(1,\)"),
        ({"x": np.array([["a"], ["b"]]), "y": [0, 1]}, {}, "they must be numbers"),
        ({"x": TWO, "y": [0, 1], "m": [True]}, {"categorical": "m"}, "the mask has the shape"),
    ],
)
def test_npz_says_what_is_wrong_in_one_line(
    tmp_path: Path, arrays: dict[str, Any], parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        npz(tmp_path, arrays, **parameters)
    assert "a.npz: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [Npz("no.npz"), Csv("no.csv"), Parquet("no"), Folder("no")])
def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, source: Npz | Csv | Parquet | Folder
) -> None:
    with pytest.raises(DataError, match=r"there is no .*no"):
        source.load(1, tmp_path)


@pytest.mark.parametrize("source", [Npz("a"), Parquet("a"), Csv("a")])
def test_a_file_of_another_kind_is_named(tmp_path: Path, source: Npz | Csv | Parquet) -> None:
    (tmp_path / "a").write_bytes(b"\x93garbage\x00\xff")
    with pytest.raises(DataError, match=r"a cannot be read: |a: no "):
        source.load(1, tmp_path)


def test_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="allow_pickle=False"):
        npz(tmp_path, {"x": np.array([{}, {}]), "y": np.array([0, 1])})


def test_csv_reads_numbers_texts_labels_and_clients(tmp_path: Path) -> None:
    dataset = csv(
        tmp_path,
        "age,job,label,site\n30,nurse,yes,B\n50,,no,A\n40,cook,yes,B\n",
        client="site",
    )
    assert dataset.inputs.tolist() == [[30, 0, 1], [50, 0, 0], [40, 1, 0]]
    assert dataset.class_names == ("no", "yes")
    assert dataset.labels.tolist() == [1, 0, 1]
    assert dataset.client is not None
    assert dataset.client.tolist() == [1, 0, 1]


def test_csv_takes_a_second_file_for_the_test(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("a,job,label,sort\n,pilot,1,u\n")
    text = "a,job,label,sort\n2,cook,0,t\n4,nurse,1,u\n"
    dataset = csv(tmp_path, text, test="b.csv", missing="mean", domain="sort")
    assert dataset.test_inputs is not None
    assert np.isnan(dataset.test_inputs[0, 0])
    assert dataset.test_inputs[0, 1:].tolist() == [0, 0]
    assert dataset.test_domain is not None
    assert dataset.test_domain.tolist() == [1]


@pytest.mark.parametrize(
    ("text", "parameters", "message"),
    [
        ("a,b\n1,2\n", {}, "a.csv: no column 'label'; there are a, b"),
        ("a,label\n1,0\n", {"client": "who"}, "no column 'who'; there are a, label"),
        ("a,label\n1,0\n2,\n", {}, "column 'label' is empty in 1 rows"),
        ("a,label\n1,0\n,1\n", {}, r"column 'a' lack 1 values \(NaN\)"),
        ("label\n0\n", {}, "there is no column to learn from"),
        ("a,label\n", {}, "the inputs are empty"),
        ("", {}, "cannot be read: No columns"),
    ],
)
def test_csv_says_what_is_wrong(
    tmp_path: Path, text: str, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        csv(tmp_path, text, **parameters)


def test_a_text_column_like_a_name_is_refused(tmp_path: Path) -> None:
    rows = "".join(f"n{k},{k % 2}\n" for k in range(1001))
    with pytest.raises(DataError, match="column 'name' has 1001 different values: leave it out"):
        csv(tmp_path, "name,label\n" + rows)


def test_parquet_reads_what_csv_reads(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1.5, 2], "b": ["x", "y"], "label": [1, 0]})
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_csv(tmp_path / "a.csv", index=False)
    ours = Parquet("a.parquet").load(1, tmp_path)
    assert ours.inputs.tolist() == Csv("a.csv").load(1, tmp_path).inputs.tolist()
    assert ours.labels.tolist() == [1, 0]


def pictures(root: Path, *files: str, side: int = 4) -> None:
    from PIL import Image

    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, 3), (number, 0, 0)).save(root / file)


def test_folder_reads_a_class_per_subfolder(tmp_path: Path) -> None:
    pictures(tmp_path, "train/dog/1.png", "train/cat/1.png", "train/cat/2.bmp", "test/dog/9.png")
    dataset = Folder(".").load(1, tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.inputs.shape == (3, 3, 3, 4)
    assert dataset.inputs[:, 0, 0, 0].tolist() == [1, 2, 0]
    assert dataset.labels.tolist() == [0, 0, 1]
    assert dataset.test_labels is not None
    assert dataset.test_labels.tolist() == [1]


def test_folder_reads_arrays_and_scales_pictures(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "0.npy", np.zeros((5, 5), np.uint8))
    pictures(tmp_path, "b/0.png")
    dataset = Folder(".", size=5, colour="grey").load(1, tmp_path)
    assert dataset.inputs.shape == (2, 1, 5, 5)


def test_folder_names_the_picture_that_does_not_fit(tmp_path: Path) -> None:
    pictures(tmp_path, "a/0.png")
    pictures(tmp_path, "a/1.png", side=9)
    with pytest.raises(DataError, match=r"1.png has the shape \(3, 3, 9\), 0.png .* say size: N"):
        Folder(".").load(1, tmp_path)


def test_folder_without_pictures_says_so(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match="no pictures in the subfolders"):
        Folder(".").load(1, tmp_path)


def test_hf_splits_become_arrays() -> None:
    import datasets
    from PIL import Image

    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"])
    )
    rows = {"image": [Image.new("L", (4, 3), k) for k in (5, 6)], "label": [1, 0]}
    train = datasets.Dataset.from_dict(rows, features=features)
    splits = datasets.DatasetDict(train=train, test=train)
    dataset = Hf("any/thing").dataset(splits)
    assert dataset.inputs.shape == (2, 1, 3, 4)
    assert dataset.inputs[:, 0, 0, 0].tolist() == [5, 6]
    assert dataset.class_names == ("cat", "dog")
    assert dataset.test_inputs is not None
    with pytest.raises(DataError, match="no column 'text'; it has image, label"):
        Hf("any/thing", inputs="text").dataset(splits)
    with pytest.raises(DataError, match="no split 'valid'; it has train, test"):
        Hf("any/thing", test="valid").dataset(splits)


def test_digits_are_those_that_scikit_learn_loads(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    digits = Digits().load(1, tmp_path)
    assert (digits.inputs.reshape(-1, 64) * 16 == pixels).all()
    assert (digits.labels == labels).all()


def test_a_missing_package_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("sklearn", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingPackage, match=r'sklearn.* pip install "fedsim\[sim\]"'):
        Digits().load(1, tmp_path)
