"""How raw inputs become what a model takes: all that is needed to use it elsewhere."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from fedsim.data.federated import FederatedData
from fedsim.data.sources._columns import Columns
from fedsim.data.table_layout import Planned
from fedsim.plugins.registry import build

if TYPE_CHECKING:
    from fedsim.schema.scenario import Scenario

__all__ = ["preprocessing_of", "table_of"]


def table_of(scenario: Scenario, data: FederatedData) -> list[Planned] | None:
    """Return how each column of the scenario's table became numbers; None where it is no table.

    Raises:
        DataError: if the data was prepared by version 0.1, and its table cannot be read.
    """
    if data.table:
        return [*data.table]
    source = build("source", scenario.data.source, scenario.folder)
    return source.plan(scenario.folder) if isinstance(source, Columns) else None


def preprocessing_of(scenario: Scenario, data: FederatedData) -> dict[str, Any]:
    """Return what ``preprocessing.json`` holds, as plain values.

    ``inputs``: shape and dtype of an example; of several inputs, of each, and the numbers of
    ``centre`` and ``spread`` stand in their order.  ``centre`` and ``spread``: what is
    subtracted, and what it is divided by, per channel or column; where each client has its own,
    those of the server.  ``fill``: what an absent number becomes, per column, before that.
    ``table``: of a CSV or Parquet file, the columns in order, with the categories that become
    columns of 0 and 1.  ``task``, ``targets``: what the outputs mean.

    Raises:
        DataError: if the scenario's table cannot be read.
    """
    arrays = data.stored
    centre, spread = arrays["centre"], arrays["spread"]
    if centre.ndim == 2:  # each client has its own, and the server the last
        centre, spread = centre[-1], spread[-1]
    plan = table_of(scenario, data)
    if plan is not None and "fill" in arrays:  # of training parts alone; the plan's are of all rows
        plan = [replace(column, fill=None) for column in plan]
    return {
        "format": 1,
        "inputs": _inputs(data),
        "columns": list(data.columns),
        "table": None if plan is None else [asdict(column) for column in plan],
        "fill": arrays["fill"].tolist() if "fill" in arrays else None,
        "centre": centre.tolist(),
        "spread": spread.tolist(),
        "class_names": list(data.class_names),
        "target_names": list(data.target_names),
        "task": scenario.task.model_dump(mode="json"),
        "targets": asdict(data.targets),
    }


def _inputs(data: FederatedData) -> dict[str, Any]:
    """Return shape and type of an example's inputs; of several, ``fields`` in their order."""
    if isinstance(data.model_shape, tuple):
        return {"shape": list(data.shape), "dtype": data.stored["inputs"].dtype.name}
    shapes = data.model_shape
    fields = [
        {
            "name": name,
            "shape": list(shape),
            "dtype": shapes.dtypes[name],
            "size": shapes.sizes.get(name),
        }
        for name, shape in shapes.items()
    ]
    return {"shape": list(data.shape), "dtype": "several", "fields": fields}
