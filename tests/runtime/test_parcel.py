"""Data that a node does not see is written there once, whole, and makes way for other data."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fedsim.data.federated import FederatedData, prepare
from fedsim.errors import RunError

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
pytest.importorskip("ray")
parcels = pytest.importorskip("fedsim.runtime.data_shipping")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return where this process, as a node, would keep data."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with parcels.cache_folder() as folder:
        pass
    yield folder
    leave()


def leave() -> None:
    while parcels._OPEN:
        parcels._OPEN.pop().close()


@pytest.fixture
def parcel(scenario, tmp_path: Path) -> Callable[[int], Any]:
    """Return a maker of parcels, one for each seed."""

    def make(seed: int) -> Any:
        store = tmp_path / "driver" / str(seed)
        prepare(scenario(seed=seed), store)
        return parcels.Shipment.of(store)

    return make


def unseen(parcel: Any) -> Any:
    return replace(parcel, store=Path("/nowhere"))


def test_a_path_that_leads_to_the_same_data_is_used(parcel) -> None:
    one, other = parcel(1), parcel(2)
    assert parcels.at_hand(one) == one.store
    assert parcels.at_hand(replace(one, store=other.store)) is None


def test_what_was_shipped_is_the_same_and_is_found_again(parcel, cache_folder) -> None:
    one = parcel(1)
    store = parcels.unpack(unseen(one), parcels.pack(one))
    assert store == cache_folder / one.digest == parcels.at_hand(unseen(one))
    assert FederatedData.open(store).digest == FederatedData.open(one.store).digest
    assert parcels.unpack(unseen(one), []) == store  # the second worker fetches nothing


def test_data_that_arrives_damaged_is_not_kept(parcel, cache_folder) -> None:
    one = parcel(1)
    crates = [replace(crate, sha256="0" * 64) for crate in parcels.pack(one)]
    with pytest.raises(RunError, match="arrived damaged"):
        parcels.unpack(unseen(one), crates)
    assert [path.name for path in cache_folder.iterdir()] == [".lock"]
    assert parcels.at_hand(unseen(one)) is None


def test_what_nobody_has_open_makes_way(parcel) -> None:
    first, second, third = (parcel(seed) for seed in (1, 2, 3))
    for one in (first, second):
        parcels.unpack(unseen(one), parcels.pack(one))
    assert parcels.at_hand(unseen(first))
    leave()  # as at the end of a process
    parcels.unpack(unseen(third), parcels.pack(third))
    assert parcels.at_hand(unseen(first)) is None
    assert parcels.at_hand(unseen(second)) is None
    assert parcels.at_hand(unseen(third))


def test_a_folder_that_others_can_write_to_is_refused(parcel, cache_folder) -> None:
    cache_folder.chmod(0o777)
    with pytest.raises(RunError, match="is not this user's alone"):
        parcels.at_hand(unseen(parcel(1)))
