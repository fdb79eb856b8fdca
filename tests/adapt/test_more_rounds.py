"""Nothing of domain adaptation or FedDM depends on how many rounds there are in all."""

from __future__ import annotations

from typing import Any

import pytest

from fedsim.engine.run import resume_run

FEDDM: dict[str, Any] = {
    "strategy": {"use": "feddm", "epochs": 2},
    "model": {"use": "convnet", "depth": 2, "width": 4},
    "local": {"images_per_class": 2, "steps": 2, "init": "noise"},
    "data": {"source": "digits", "partition": {"use": "dirichlet", "alpha": 0.5}},
    "clients": {"count": 3},
}


@pytest.mark.parametrize(
    "sections",
    [
        {"strategy": "dann", "adapt": {"select": "entropy"}},
        {"strategy": {"use": "iwdan", "warm_up": 1}},
        {"strategy": "jan"},
        {"strategy": "dmpn"},
        FEDDM,
    ],
    ids=lambda sections: str(sections["strategy"]),
)
def test_prolonged_from_two_rounds_to_four_is_four_at_once(sections, two_domains, play) -> None:
    whole = {"evaluation": {"every": 3}, **sections}
    at_once = play(two_domains(**whole, rounds=4))
    longer = play(two_domains(**whole, rounds=2)).folder
    result = resume_run(longer, lambda _: None, rounds=4)
    assert result.weights_sha256 == at_once.result.weights_sha256
    assert result.metrics_sha256 == at_once.result.metrics_sha256
    assert result.domains == at_once.result.domains
    tables = [run.path / "tables.jsonl" for run in (longer, at_once.folder)]
    if tables[1].exists():
        assert tables[0].read_text() == tables[1].read_text()
