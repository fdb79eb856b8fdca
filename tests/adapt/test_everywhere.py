"""Every method by YAML alone: the same numbers in this process and on two workers of Ray."""

from __future__ import annotations

from typing import Any

import pytest

BLURRED = {"lr": 0.05, "feature_clip": 1.0, "feature_noise": 1.0}
PROJECTED = {"use": "projected", "dimensions": 10}

CASES: dict[str, dict[str, Any]] = {
    "dann": {"strategy": "dann"},
    "dann, exact": {"strategy": {"use": "dann", "form": "exact"}},
    "dann, fedmm": {"strategy": {"use": "dann", "form": "fedmm"}},
    "dann, features": {"strategy": {"use": "dann", "form": "features"}, "local": BLURRED},
    "cdan+e": {"strategy": {"use": "cdan", "entropy": True}},
    "iwdan": {"strategy": {"use": "iwdan", "iw_start": 1}},
    "iwcdan": {"strategy": {"use": "iwcdan", "iw_start": 1, "shared_q": True}},
    "jan": {"strategy": {"use": "jan", "warm_up": 0}},
    "iwjan": {"strategy": {"use": "iwjan", "warm_up": 0, "iw_start": 1}},
    "dmpn": {"strategy": {"use": "dmpn", "warm_up": 0}},
    "dmpn, means": {"strategy": {"use": "dmpn", "warm_up": 0, "prototypes": "means"}},
    "jdme": {"strategy": "jdme", "model": PROJECTED, "local": {}},
}


@pytest.mark.ray
@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_the_same_here_and_on_ray(name, two_domains, play, ray_session) -> None:
    here, there = (
        play(two_domains(**CASES[name], compute={"backend": backend, "workers": 2}))
        for backend in ("local", "ray")
    )
    assert here.result.dropped == 0
    assert there.result.weights_sha256 == here.result.weights_sha256
    assert there.result.metrics_sha256 == here.result.metrics_sha256
    assert there.result.domains == here.result.domains
