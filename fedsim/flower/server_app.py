"""The ServerApp: a whole run on whatever grid Flower hands over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

__all__ = ["Grid", "ServerApp", "make_server_app"]


def make_server_app(play: Callable[[Grid, Mapping[str, Any]], object]) -> ServerApp:
    """Return the app that calls ``play`` with the grid it is started on and Flower's run config."""
    app = ServerApp()

    def main(grid: Grid, context: Context) -> None:
        play(grid, context.run_config)

    app.main()(main)
    return app
