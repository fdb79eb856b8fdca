"""What domains look like to a model: confusions, class counts and pictures of its features.

All of it is evaluation, which a simulation alone can do: it sees the targets' labels, and nothing
of it goes back into training.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fedsim.data.federated import FederatedData
from fedsim.models._scenario_model import scenario_model
from fedsim.models._state import load_weights
from fedsim.schema.scenario import Scenario
from fedsim.tasks._from_scenario import task_of
from fedsim.wire import Weights

__all__ = ["confusion", "evaluate_domains", "plane"]

SHOWN = 150
"""Examples of a domain on a feature map."""
BATCH = 512


def evaluate_domains(
    scenario: Scenario, data: FederatedData, weights: Weights
) -> dict[str, Any] | None:
    """Return what ``domains.json`` holds, or None where no domain is a target.

    Args:
        scenario: of the run.
        data: whose server test set knows its domains.
        weights: at the end.
    """
    roles = {client.domain: client.role for client in data.clients} if data.domain_names else {}
    if "target" not in roles.values():
        return None
    outputs = task_of(scenario, data.targets).outputs
    model = scenario_model(scenario, data.shape, outputs).eval()
    # Real examples' places on a map are not for release.
    maps = {} if scenario.privacy else {"before": _map(model, data)}
    load_weights(model, weights)
    maps |= {} if scenario.privacy else {"after": _map(model, data)}
    counts = data.counts()
    domains = np.array([client.domain for client in data.clients])
    return {
        "classes": [str(name) for name in data.class_names or range(data.classes)],
        "roles": roles,
        "counts": {name: counts[domains == name].sum(axis=0).tolist() for name in roles},
        "confusion": {name: confusion(model, data, name).tolist() for name in data.domain_names},
        "maps": maps,
    }


def confusion(model: nn.Module, data: FederatedData, domain: str) -> NDArray[Any]:
    """Return how often each class (row) of a domain's test examples is taken for which (column)."""
    test = data.server_test(domain)
    guesses = [model(part).argmax(dim=1) for part in _parts(test.inputs)] or [test.labels]
    cells = test.labels * data.classes + torch.cat(guesses)
    counts = torch.bincount(cells, minlength=data.classes**2)
    table: NDArray[Any] = counts.reshape(data.classes, data.classes).numpy()
    return table


def _parts(inputs: torch.Tensor) -> Iterator[torch.Tensor]:
    for start in range(0, len(inputs), BATCH):
        with torch.no_grad():
            yield inputs[start : start + BATCH]


def _map(model: nn.Module, data: FederatedData) -> dict[str, Any]:
    """Return some test examples of each domain on the plane in which features differ most."""
    embed = getattr(model, "features", model)
    tests = {name: data.server_test(name) for name in data.domain_names}
    rows = {
        name: np.linspace(0, len(part) - 1, min(len(part), SHOWN)).round().astype(int)
        for name, part in tests.items()
        if len(part)
    }
    with torch.no_grad():
        features = [embed(tests[name].inputs[at]).flatten(1).double() for name, at in rows.items()]
    return {
        "domain": [name for name, at in rows.items() for _ in at],
        "label": [int(label) for name, at in rows.items() for label in tests[name].labels[at]],
        "at": plane(torch.cat(features).numpy()).round(4).tolist(),
    }


def plane(features: NDArray[Any]) -> NDArray[Any]:
    """Return the first two principal components of ``features`` `(n, width)`, `(n, 2)`.

    Each points to where its largest loading is positive, so that equal features give equal maps.
    """
    centred = features - features.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = np.pad(axes[:2], ((0, max(0, 2 - len(axes))), (0, 0)))
    most = np.abs(axes).argmax(axis=1)
    signs = np.sign(np.take_along_axis(axes, most[:, None], axis=1))
    placed: NDArray[Any] = centred @ (axes * np.where(signs == 0, 1, signs)).T
    return placed
