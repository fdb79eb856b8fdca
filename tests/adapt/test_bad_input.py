"""What adaptation cannot work on is refused, with the place and what would be right."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedsim.data.partitions.domains import Domains
from fedsim.data.sources.digits_domains import DigitsDomains
from fedsim.errors import DataError, QuorumLost, RunError

METHODS = ["dann", "cdan", "iwdan", "iwcdan", "jan", "iwjan", "dmpn"]
NETS = Path(__file__).parent / "odd_nets.py"


@pytest.mark.parametrize("method", METHODS)
def test_batch_normalisation_across_domains_is_refused(method: str, two_domains, play) -> None:
    with pytest.raises(QuorumLost, match=r"batch normalisation \(body\.1\).*norm: instance"):
        play(two_domains(strategy=method, model=f"{NETS}:Normed", rounds=1))


@pytest.mark.parametrize("method", METHODS)
def test_a_model_without_an_embedding_is_refused(method: str, two_domains, play) -> None:
    with pytest.raises(RunError, match=r"linear layer called head.*features\(x\) and head\(z\)"):
        play(two_domains(strategy=method, model=f"{NETS}:Flat", rounds=1))


@pytest.mark.parametrize("method", [*METHODS, "jdme"])
def test_nothing_to_adapt_to_is_refused(method: str, two_domains, play) -> None:
    data: dict[str, Any] = two_domains().data.model_dump(mode="json")
    data["partition"]["targets"] = []
    model = {"use": "projected", "dimensions": 5} if method == "jdme" else "mlp"
    with pytest.raises(RunError, match=r"adapts to target clients and there is none.*targets: \["):
        play(two_domains(strategy=method, data=data, model=model, local={}, rounds=1))


DATA = DigitsDomains(("plain", "rotated")).load(1, Path())


def test_a_domain_cannot_be_its_own_source() -> None:
    with pytest.raises(DataError, match=r"targets names every domain \(plain, rotated\).*leave"):
        Domains(targets=("plain", "rotated")).deal(DATA, None, 1)


def test_a_target_that_no_example_is_of_is_refused() -> None:
    named = replace(DATA, domain_names=(*DATA.domain_names, "sketched"))
    with pytest.raises(DataError, match="target domain 'sketched' has no examples"):
        Domains(targets=("sketched",)).deal(named, None, 1)
    with pytest.raises(DataError, match="target domain 'drawn' is not in the data; it has plain"):
        Domains(targets=("drawn",)).deal(DATA, None, 1)


def test_a_class_that_no_source_has_is_refused_by_name() -> None:
    assert DATA.domain is not None
    kept = ~((DATA.domain == 0) & np.isin(DATA.labels, [3, 7]))
    poorer = replace(
        DATA, inputs=DATA.inputs[kept], labels=DATA.labels[kept], domain=DATA.domain[kept]
    )
    with pytest.raises(DataError, match="no source domain has an example of class 3, 7: it cannot"):
        Domains(targets=("rotated",)).deal(poorer, None, 1)
    assert len(Domains(targets=("plain",)).deal(poorer, None, 1)) == 2  # the other way it can
