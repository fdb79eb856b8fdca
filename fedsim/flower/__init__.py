"""Flower at the boundary: the one room that imports flwr."""

import os

# Flower reads these when it is imported.  fedsim calls no one: no telemetry, no update check,
# no package installed behind the user's back.
os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
