"""Federated learning: one YAML file per experiment, simulated fast and run on real devices."""

import os

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
