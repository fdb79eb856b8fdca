"""Federated learning: one YAML file per experiment, simulated fast and run on real devices."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fedsim.kernels import pin_here

if TYPE_CHECKING:
    from fedsim.python_api.calls import Run, load, resume, run, run_study

    __version__: str

__all__ = ["Run", "__version__", "load", "resume", "run", "run_study"]

# fedsim calls no one: no telemetry, no update check, no package installed behind the user's back.
# Flower and Ray read these when they are imported, so they stand before everything else.
for _name, _value in {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # leave a worker without a GPU alone
}.items():
    os.environ.setdefault(_name, _value)

pin_here()


def __getattr__(name: str) -> Any:
    """Return a name of :mod:`fedsim.python_api.calls`, imported when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("fedsim")
    if name in __all__:
        from fedsim.python_api import calls

        return getattr(calls, name)
    raise AttributeError(f"module 'fedsim' has no attribute {name!r}")
