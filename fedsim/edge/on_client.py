"""The client on a device: where its data, its memory and its key are, by Flower's node config."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from fedsim.edge.device_data import open_data
from fedsim.edge.flower_app import Shipped
from fedsim.edge.memory import FileMemory
from fedsim.errors import DataError
from fedsim.flower.client_app import CLIENT_KEY
from fedsim.flower.device import ClientApp, Config, make_device_app
from fedsim.flower.parts import client_of, strategy_of
from fedsim.flower.proof import PrivateKey, key_at
from fedsim.kernels import require
from fedsim.worker.worker import Worker

__all__ = ["OnDevice", "client_app"]


def client_app(folder: Path) -> ClientApp:
    """Return the app of the run that ``folder`` holds, for a device that joined with a bundle."""
    shipped = Shipped.load(folder)
    return make_device_app(shipped.scenario, OnDevice(shipped))


class OnDevice:
    """What one device has of its own, found by the settings that ``fedsim edge join`` gives it."""

    def __init__(self, shipped: Shipped) -> None:
        self._shipped = shipped
        self._worker: Worker | None = None

    def worker(self, config: Config) -> Worker:
        """Return what takes the turns, made when it is first asked for.

        Raises:
            DataError: if the device's examples cannot be read, or are not like the scenario's.
        """
        if self._worker is None:
            self._worker = self._made(config)
        return self._worker

    def memories(self, config: Config) -> FileMemory:
        """Return where the client's memory is: a file of the device."""
        every = self._shipped.scenario.checkpoint.every
        return FileMemory(_state(config) / "memory", self._shipped.run, every + 1)

    def key(self, config: Config) -> PrivateKey | None:
        """Return the device's key; None where it joined without one."""
        path = str(config.get("key", ""))
        return key_at(Path(path)) if path else None

    def _made(self, config: Config) -> Worker:
        require(self._shipped.scenario.compute.repeatable)
        # One thread, as in a simulation: sums split over threads depend on their number.
        torch.set_num_threads(1)
        device = "cuda" if torch.cuda.is_available() else "cpu"
        if device != "cpu":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        scenario = self._shipped.scenario
        client, path = int(config[CLIENT_KEY]), str(config.get("data", ""))
        if not path:
            raise DataError("this device has no data: join it with --data PATH")
        data = open_data(path, scenario, self._shipped.terms, client, _state(config) / "data")
        return Worker(scenario, data, client_of(scenario, strategy_of(scenario)), device)


def _state(config: Config) -> Path:
    """Return the device's folder for what must outlive its processes."""
    return Path(str(config["bundle"])) / "state"
