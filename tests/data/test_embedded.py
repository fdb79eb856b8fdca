"""The data sets of scikit-learn's files are those that scikit-learn loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedsim.data.sources._embedded import Embedded
from fedsim.data.sources.breast_cancer import BreastCancer
from fedsim.data.sources.diabetes import Diabetes
from fedsim.data.sources.iris import Iris
from fedsim.data.sources.linnerud import Linnerud
from fedsim.data.sources.wine import Wine
from fedsim.errors import MissingPackage

SOURCES = [
    (BreastCancer, "binary", {}),
    (Diabetes, "regression", {"scaled": False}),
    (Iris, "classification", {}),
    (Linnerud, "regression", {}),
    (Wine, "classification", {}),
]


@pytest.mark.parametrize(("source", "task", "layout"), SOURCES)
def test_they_are_what_scikit_learn_loads(
    source: type[Embedded], task: str, layout: dict[str, bool]
) -> None:
    from sklearn import datasets

    name = {"BreastCancer": "breast_cancer"}.get(source.__name__, source.__name__.lower())
    theirs = getattr(datasets, f"load_{name}")(**layout)
    ours = source().load(1, Path())
    assert (ours.inputs == theirs.data.astype(np.float32)).all()
    assert (ours.labels == theirs.target).all()
    assert source.task == task
    if source.class_names:
        assert ours.class_names == tuple(theirs.target_names)


@pytest.mark.parametrize(("source", "task", "layout"), SOURCES)
def test_they_say_of_themselves_what_is_so(
    source: type[Embedded], task: str, layout: dict[str, bool]
) -> None:
    header, dataset = source().peek(Path()), source().load(1, Path())
    assert header.targets is not None
    assert header.rows == len(dataset)
    assert header.classes == dataset.classes
    assert header.fields["inputs"].shape == dataset.inputs.shape[1:]
    assert (header.targets.dtype, header.targets.shape) == (
        dataset.labels.dtype.name,
        dataset.labels.shape[1:],
    )


def test_scikit_learn_is_not_imported() -> None:
    loads = "from fedsim.data.sources.diabetes import Diabetes as D; from pathlib import Path; "
    loads += "import sys; D().load(1, Path()); assert 'sklearn' not in sys.modules"
    subprocess.run([sys.executable, "-c", loads], check=True)


def test_without_scikit_learn_the_command_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(MissingPackage, match=r'Wine.* pip install "fedsim\[sim\]"'):
        Wine().load(1, Path())
