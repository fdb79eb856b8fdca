"""The server's part of a run on devices: what Flower's server starts, for as long as the run is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fedsim.edge.attempt import feed_of, measures
from fedsim.edge.calibrate import measure
from fedsim.edge.federation import Federation
from fedsim.edge.flower_app import Shipped
from fedsim.engine.run import serve_scenario
from fedsim.flower.devices import DEADLINE_S, Devices, Member, Members
from fedsim.flower.proof import public_key
from fedsim.flower.server_app import Grid, ServerApp, make_server_app
from fedsim.runlog.run_folder import RunFolder
from fedsim.scenario.load import load
from fedsim.schema.scenario import Scenario

__all__ = ["members_of", "server_app"]


def server_app(folder: Path) -> ServerApp:
    """Return the app of the run in ``folder``; where it writes is in Flower's run config."""
    shipped = Shipped.load(folder)

    def play(grid: Grid, config: Mapping[str, Any]) -> None:
        run = RunFolder(Path(str(config["folder"])))
        feed = feed_of(run, shipped.run)
        try:
            scenario = load(run.scenario)
            members = members_of(Federation.load(str(config["federation"])), scenario, shipped.run)
            if measures(run):
                with run.lock():
                    measure(scenario, run, Devices(grid, members))
            else:
                serve_scenario(scenario, run, feed.write, Devices(grid, members))
        except Exception as error:
            feed.end(error)
            raise
        feed.end(None)

    return make_server_app(play)


def members_of(federation: Federation, scenario: Scenario, run: str) -> Members:
    """Return who the clients of a run are: the federation's nodes, by the keys they registered."""
    clients = scenario.clients
    return Members(
        run=run,
        members={
            node.client: Member(
                node.name, None if node.revoked else node.node_id, public_key(node.public_key)
            )
            for node in federation.nodes
        },
        deadline_s=clients.deadline_s or DEADLINE_S,
        quorum=lambda count: clients.min_replies.of(count, at_least=1),
    )
