"""Inputs that are several arrays by name reach a model as arguments, wherever clients run."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fedsim
from fedsim.cli import main
from fedsim.data.dataset import Array, Dataset
from fedsim.data.federated import FederatedData
from fedsim.data.fit import data_faults
from fedsim.data.normalisation import PublicConstants
from fedsim.data.records import fields_of, padded, records_of
from fedsim.data.sources.npz import Npz
from fedsim.data.sources.torch import Torch
from fedsim.engine.run import run_scenario
from fedsim.errors import DataError, RunError, ScenarioError
from fedsim.export.deployed import deployed
from fedsim.export.formats import export
from fedsim.export.prediction import predict
from fedsim.named_tensors import NamedShapes, NamedTensors
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load

DRAWS = np.random.default_rng(3)
ROWS = 60
SIZES = DRAWS.integers(1, 9, size=ROWS)
Y = np.arange(ROWS) % 2
ARRAYS: dict[str, Array] = {
    "inputs.image": (DRAWS.integers(100, size=(ROWS, 6, 6)) + 100 * Y[:, None, None]).astype(
        np.uint8
    ),
    "inputs.age": DRAWS.normal(50, 9, size=ROWS),
    "inputs.words": DRAWS.integers(20, size=int(SIZES.sum())),
    "inputs.words.offsets": np.concatenate([[0], np.cumsum(SIZES)]),
    "inputs.job": DRAWS.integers(4, size=ROWS),
    "y": Y,
}
MODEL = """\
import torch
from torch import nn

class Fused(nn.Module):
    def __init__(self, *, shape, classes, width: int = 4):
        super().__init__()
        assert shape["image"] == (1, 6, 6) and shape["age"] == (1,)
        self.image = nn.Linear(36, width)
        self.words = nn.Embedding(20, width)
        self.job = nn.Embedding(4, width)
        self.age = nn.Linear(1, width)
        self.head = nn.Linear(width, classes)

    def forward(self, image, words, words_mask, job, age):
        text = (self.words(words) * words_mask.unsqueeze(2)).sum(1) / words_mask.sum(1, True)
        return self.head(self.image(image.flatten(1)) + text + self.job(job) + self.age(age))

class Misspelt(Fused):
    def forward(self, image, wrods):
        return self.head(self.image(image.flatten(1)))

class Picture(Fused):
    def forward(self, image):
        return self.head(self.image(image.flatten(1)))

class Nothing(Fused):
    def forward(self, *inputs):
        return self.head(inputs[0])
"""
SCENARIO = """\
kind: scenario
rounds: 3
data:
  source: {use: npz, path: a.npz, length: 5}
  partition: iid
  holdout: {server_test: 20%, client_test: 20%}
model: {use: ./model.py:Fused}
clients: {count: 3}
strategy: fedavg
local: {lr: 0.2, epochs: 3}
compute: {backend: local}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    np.savez(tmp_path / "a.npz", **ARRAYS)  # type: ignore[arg-type]
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "s.yaml").write_text(SCENARIO)
    return tmp_path


def dataset(place: Path, **parameters: Any) -> Dataset:
    return Npz("a.npz", length=5, **parameters).load(1, place)


def test_arrays_of_an_npz_become_fields_of_one_kind_each(place: Path) -> None:
    fields = fields_of(dataset(place).inputs)
    kinds = {name: (str(array.dtype), array.shape[1:]) for name, array in fields.items()}
    assert kinds == {
        "image": ("uint8", (1, 6, 6)),
        "age": ("float32", (1,)),
        "words": ("int64", (5,)),
        "words_mask": ("float32", (5,)),
        "job": ("int64", ()),
    }
    header = Npz("a.npz", length=5).peek(place)
    assert {*header.fields} == {"image", "age", "words", "job"}
    assert header.rows == ROWS


def test_rows_of_several_lengths_are_filled_up_or_cut_to_one(place: Path) -> None:
    fields = fields_of(dataset(place).inputs)
    begins = ARRAYS["inputs.words.offsets"]
    for row, size in enumerate(SIZES):
        words = ARRAYS["inputs.words"][begins[row] : begins[row + 1]][:5]
        assert fields["words"][row].tolist() == [*words, *[0] * (5 - len(words))]
        assert fields["words_mask"][row].tolist() == [1] * min(size, 5) + [0] * max(5 - size, 0)


@pytest.mark.parametrize(
    ("offsets", "message"),
    [([0, 2], "from 0 to the number of values, 3"), ([0, 2, 1, 3], "offsets go down"),
     ([1, 3], "from 0 to"), ([[0, 3]], "from 0 to")],
)  # fmt: skip
def test_offsets_that_do_not_fit_are_refused(offsets: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        padded(np.arange(3), np.array(offsets), 2)


def test_keys_may_be_named_and_a_test_split_has_the_same(place: Path) -> None:
    a, b = np.zeros((4, 2)), np.ones((4, 3))
    np.savez(place / "b.npz", a=a, b=b, labels=Y[:4], c=a[:2], d=b[:2], test_labels=Y[:2])
    keys = {"inputs": {"left": "a", "right": "b"}, "test_inputs": {"left": "c", "right": "d"}}
    read = Npz("b.npz", **keys).load(1, place)  # type: ignore[arg-type]
    assert read.test_inputs is not None
    assert [array.shape for array in fields_of(read.test_inputs).values()] == [(2, 2), (2, 3)]
    wrong: list[tuple[dict[str, Any], str]] = [
        ({**keys, "test_inputs": {"left": "c"}}, "the test split has other inputs than left"),
        ({"inputs": {"left": "x"}}, "no array is called 'x'; there are a, b"),
        ({"inputs": {"my left": "a"}}, "'my left' is no name of an argument"),
        ({"inputs": {"left": "a", "right": "c"}}, "not equally long: left 4, right 2"),
    ]
    for parameters, message in wrong:
        with pytest.raises(DataError, match=message):
            Npz("b.npz", **parameters).load(1, place)
    with pytest.raises(DataError, match="input 'words': its rows have several lengths: say length"):
        Npz("a.npz").load(1, place)
    np.savez(place / "c.npz", **{"inputs.a": np.array([[1.0], [np.nan]]), "y": [0, 1]})  # type: ignore[arg-type]
    for missing, message in (("error", "lack 1 values"), ("mean", "say missing: zero")):
        with pytest.raises(DataError, match=message):
            Npz("c.npz", missing=missing).load(1, place)  # type: ignore[arg-type]
    assert fields_of(Npz("c.npz", missing="zero").load(1, place).inputs)["a"].tolist() == [[1], [0]]


ITEMS = """\
import torch

def items():
    return [
        ({"image": torch.full((2, 2), float(k)), "words": list(range(k % 3 + 1))}, k % 2, k % 4)
        for k in range(8)
    ]

def arrays():
    return {"image": torch.zeros(8, 2, 2), "age": list(range(8))}, [0, 1] * 4

def odd():
    return [({"a": 1.0}, 0), ({"b": 1.0}, 1)]

def odd_width():
    return [({"a": torch.zeros(2, 3)}, 0), ({"a": torch.zeros(2, 4)}, 1)]
"""


def test_items_and_arrays_of_a_function_may_be_dicts(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(ITEMS)
    items = Torch("m.py:items", length=2).load(1, tmp_path)
    fields = fields_of(items.inputs)
    assert [*fields] == ["image", "words", "words_mask"]
    assert fields["words"][:3].tolist() == [[0, 0], [0, 1], [0, 1]]
    assert fields["words_mask"][:3].tolist() == [[1, 0], [1, 1], [1, 1]]
    assert items.client is not None
    assert len({*items.client.tolist()}) == 4
    arrays = fields_of(Torch("m.py:arrays").load(1, tmp_path).inputs)
    assert {name: array.shape for name, array in arrays.items()} == {
        "image": (8, 1, 2, 2),
        "age": (8,),
    }
    wrong = {
        "items": "say length",
        "odd": "item 1 .* has input 'b', target; item 0 has input 'a', target",
        "odd_width": r"has an input 'a' of the shape \(2, 4\), item 0 \(2, 3\)",
    }
    for name, message in wrong.items():
        with pytest.raises(DataError, match=message):
            Torch(f"m.py:{name}").load(1, tmp_path)


@pytest.mark.parametrize("normalize", [True, "clients", "each", False])
def test_each_field_is_normalised_as_it_would_be_alone(
    place: Path, partitioned: Any, normalize: Any
) -> None:
    several = dataset(place)
    shares = {"client_test": Fraction(1, 5), "normalize": normalize}
    data: FederatedData = partitioned(several, "several", **shares)
    for name, array in fields_of(several.inputs).items():
        single: FederatedData = partitioned(
            Dataset(array.copy(), several.labels, None, None, 2), name, **shares
        )
        for client in range(4):
            for part in ("train", "test"):
                together: Any = data.part(client, part).inputs
                alone: Any = single.part(client, part).inputs
                assert torch.equal(together[name], alone), (name, client, part)
    assert data.shape == (36 + 1 + 5 + 5 + 1,)
    pooled: Any = data.pooled().inputs
    assert len(pooled) == len(data.pooled().labels)


def test_the_digest_knows_names_and_values(place: Path, partitioned: Any) -> None:
    several = dataset(place)
    renamed = {name.replace("job", "work"): a for name, a in fields_of(several.inputs).items()}
    changed = {name: a.copy() for name, a in fields_of(several.inputs).items()}
    changed["age"][7] += 1
    digests = {
        partitioned(Dataset(records_of(fields), several.labels, None, None, 2), str(k)).digest
        for k, fields in enumerate((fields_of(several.inputs), renamed, changed))
    }
    assert len(digests) == 3
    assert partitioned(several, "again").digest in digests


def test_named_tensors_are_indexed_alike() -> None:
    tensors = NamedTensors({"a": torch.arange(4), "b": torch.arange(8).reshape(4, 2)})
    rows = tensors[torch.tensor([2, 0])]
    assert len(tensors) == 4
    assert rows["a"].tolist() == [2, 0]
    assert rows["b"].tolist() == [[4, 5], [0, 1]]
    assert len(tensors[1:]) == 3
    assert {**tensors}.keys() == {"a", "b"}
    assert tensors.nbytes == 12 * 8
    shapes = NamedShapes({"a": (), "b": (2,)}, {"a": "int64", "b": "uint8"})
    zeros = shapes.zeros(3)
    assert (zeros["a"].dtype, zeros["b"].dtype) == (torch.int64, torch.float32)
    assert zeros["b"].shape == (3, 2)


def run(place: Path, name: str = "run", **changes: str) -> RunFolder:
    text = SCENARIO
    for old, new in changes.values() if False else [*changes.items()]:
        text = text.replace(old, new)
    (place / "s.yaml").write_text(text)
    folder = RunFolder.create(place / name)
    run_scenario(load(place / "s.yaml"), folder, lambda _: None)
    return folder


def weights(folder: RunFolder) -> str:
    result = folder.result()
    assert result is not None
    return result.weights_sha256


def test_a_run_learns_from_all_inputs_and_predicts_for_a_file(place: Path) -> None:
    folder = run(place)
    result = folder.result()
    assert result is not None
    assert result.metrics["accuracy"] > 0.9
    predicted = predict(folder, place / "a.npz")
    assert (predicted["label"].astype(int) == Y).mean() > 0.9
    raw = {name: torch.from_numpy(a.copy()) for name, a in fields_of(dataset(place).inputs).items()}
    shares = deployed(folder)(raw).detach().numpy()
    assert np.allclose(shares[:, 1], predicted["p_1"], atol=1e-6)
    with pytest.raises(RunError, match="several inputs is exported to safetensors alone"):
        export(folder, "torchscript", place / "x.pt")
    export(folder, "safetensors", place / "x.safetensors")
    np.savez(place / "b.npz", **{"inputs.image": ARRAYS["inputs.image"], "y": Y})  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"an example is .*, where the run's is"):
        predict(folder, place / "b.npz")


def test_stacked_steps_are_taken_one_by_one_and_it_is_said(place: Path) -> None:
    alone = weights(run(place))
    folder = run(place, "cohort", **{"backend: local": "backend: local, cohort: 3"})
    assert (
        "clients train one by one: their inputs are several arrays"
        in (folder.path / "events.log").read_text()
    )
    assert weights(folder) == alone


@pytest.mark.ray
def test_ray_workers_give_the_same_weights(place: Path) -> None:
    alone = weights(run(place))
    assert weights(run(place, "ray", **{"backend: local": "backend: ray, workers: 2"})) == alone


@pytest.mark.parametrize(
    ("strategy", "more"),
    [("fedprox", ""), ("scaffold", ""), ("fedadam", ""), ("fednova", "")],
)
def test_rules_that_only_ask_for_a_loss_take_several_inputs(
    place: Path, strategy: str, more: str
) -> None:
    folder = run(place, **{"strategy: fedavg": f"strategy: {strategy}", "rounds: 3": "rounds: 1"})
    assert len(weights(folder)) == 64


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "Misspelt",
            "forward needs 'wrods', and the inputs are image, age, words, words_mask, job",
        ),
        ("Nothing", "forward takes none of its arguments by name"),
    ],
)
def test_a_model_that_does_not_fit_the_names_is_refused_before_round_1(
    place: Path, name: str, message: str
) -> None:
    with pytest.raises(ScenarioError, match=message):
        run(place, **{"model.py:Fused": f"model.py:{name}"})


def test_a_model_may_leave_inputs_out(place: Path) -> None:
    assert len(weights(run(place, **{"model.py:Fused": "model.py:Picture"}))) == 64


REFUSED = [
    ("model: {use: ./model.py:Fused}", "model: mlp", "model", "mlp takes one array, and the"),
    ("strategy: fedavg", "strategy: feddm", "strategy", "Matching looks into one array of inputs"),
    ("partition: iid", "partition: iid\n  feature_shift: rotation", "data.feature_shift",
     "it is for one array of inputs, and the inputs are several arrays: image, age, words, job"),
    ("partition: iid", "partition: iid\n  normalize: {mean: [0], std: [1]}", "data.normalize",
     "it is for one array"),
    ("backend: local", "backend: local, precision: bf16", "compute.precision", "one array"),
    ("backend: local", "backend: local, compile: \"on\"", "compute.compile", "one array"),
    ("local: {lr: 0.2, epochs: 3}", "local: {use: dp_sgd, lr: 0.2}\nprivacy: {unit: record, "
     "clip: 1.0, delta: 1e-3, rng: simulation, noise_multiplier: 1.0}", "privacy",
     "DpSgd looks into one array"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "key", "message"),
    REFUSED,
    ids=[f"{row[2]}-{k}" for k, row in enumerate(REFUSED)],
)
def test_what_takes_one_array_alone_is_refused_at_its_key(
    place: Path, old: str, new: str, key: str, message: str
) -> None:
    (place / "s.yaml").write_text(SCENARIO.replace(old, new))
    scenario = load(place / "s.yaml")
    (fault,) = data_faults(scenario)
    assert fault.key == key
    assert message in fault.message


def test_a_run_refuses_what_headers_could_not_tell(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "m.py").write_text(ITEMS)
    text = SCENARIO.replace("{use: npz, path: a.npz, length: 5}", "torch:./m.py:arrays")
    (place / "s.yaml").write_text(text.replace("{use: ./model.py:Fused}", "mlp"))
    assert main(["run", str(place / "s.yaml"), "--run-dir", str(place / "r")]) == 2
    assert "mlp takes one array, and the inputs are several arrays: image, age" in (
        capsys.readouterr().err
    )


def test_constants_and_gaps_are_for_one_array(place: Path, partitioned: Any) -> None:
    several = dataset(place)
    with pytest.raises(DataError, match="inputs are one array alone"):
        Dataset(several.inputs, several.labels, None, None, 2, has_gaps=True)
    with pytest.raises(DataError, match="for 1 channels or columns"):
        partitioned(several, normalize=PublicConstants((0.0, 1.0), (1.0, 1.0)))


def test_the_model_of_the_page_is_trained(place: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    (place / "page.py").write_text(page.split("```py\n")[1].split("```")[0])
    assert len(weights(run(place, **{"./model.py:Fused": "./page.py:PictureAndAge"}))) == 64


def test_arrays_from_python_may_be_several_by_name(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    inputs = {"image": ARRAYS["inputs.image"], "age": ARRAYS["inputs.age"]}
    changes: dict[str, Any] = {"model": "./model.py:Picture", "rounds": 1}
    done = fedsim.run(place / "s.yaml", data=(inputs, Y), **changes)
    raw = {
        "image": torch.from_numpy(ARRAYS["inputs.image"]).unsqueeze(1),
        "age": torch.from_numpy(ARRAYS["inputs.age"]).unsqueeze(1),
    }
    assert done.predictor()(raw).shape == (ROWS, 2)
