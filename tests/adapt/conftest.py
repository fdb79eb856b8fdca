"""What the tests of adaptation share: a scenario of digits in a labelled and a withheld domain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedsim.schema.scenario import Scenario

DATA = {
    "source": {"use": "digits_domains", "domains": ["plain", "rotated"]},
    "partition": {"use": "domains", "clients_per_domain": 2, "targets": ["rotated"]},
}


@pytest.fixture
def two_domains(scenario) -> Callable[..., Scenario]:
    """Return a maker of scenarios with two clients of ``plain`` and two of ``rotated`` digits."""

    def make(**sections: Any) -> Scenario:
        small = {"data": DATA, "clients": {}, "rounds": 2}
        made: Scenario = scenario(**small | sections)
        return made

    return make
