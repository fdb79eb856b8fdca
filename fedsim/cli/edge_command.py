"""``fedsim edge``: real devices, from a scenario to the clients that run it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from fedsim.cli.options import File, Set
from fedsim.cli.screen import Screen

if TYPE_CHECKING:
    from fedsim.edge.status import DeviceRow

__all__ = ["calibrate", "init", "join", "revoke", "server", "status"]

Folder = Annotated[
    Path,
    typer.Argument(metavar="DIR", help="The federation's folder.", show_default=False),
]


def init(
    file: File,
    nodes: Annotated[
        str, typer.Option(help="The devices' names, with commas: plant-a,plant-b,jetson-1.")
    ],
    host: Annotated[str, typer.Option(help="The server's name or address, as devices know it.")],
    sets: Set = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The folder; by default edge/NAME-OF-SCENARIO."),
    ] = None,
    port: Annotated[int, typer.Option(min=1, max=65535, help="Devices connect to it.")] = 8443,
    control_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Flower's, on the loopback interface.")
    ] = 8000,
) -> None:
    """Make a federation's folder: certificates, keys, and a bundle for every device."""
    from fedsim.edge.layout import FederationPlan, make_federation

    screen = Screen.current()
    if port == control_port:
        raise click.UsageError("--port and --control-port must differ")
    names = [name.strip() for name in nodes.split(",")]
    folder = output or Path("edge", file.stem)
    plan = FederationPlan(file, names, host, port, control_port, sets or [])
    federation = make_federation(plan, folder)
    if screen.json:
        return screen.dump({"folder": federation.path, "nodes": federation.nodes})
    screen.say(f"made    {folder}  (private keys can be read by you alone)")
    for node in federation.nodes:
        screen.say(f"bundle  {folder}/bundles/{node.name}.tar.gz  client {node.client}")
    return screen.next(f"fedsim edge server {folder}")


def server(
    folder: Folder,
    listen: Annotated[
        str, typer.Option(metavar="ADDRESS", help="The interface that devices connect to.")
    ] = "0.0.0.0",
    control: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Of Flower's control API: a loopback address."),
    ] = "127.0.0.1",
) -> None:
    """Run a federation's server: TLS, registered keys only."""
    from fedsim.edge.federation import Federation
    from fedsim.edge.server import Listening, serve

    screen = Screen.current()
    federation, listening = Federation.load(folder), Listening(listen, control)
    where = f"https://{federation.host}:{federation.port}"
    begin = f"serve   {federation.name} at {where}, control on {control}:{federation.control_port}"
    screen.say(begin)
    serve(federation, listening, lambda line: screen.say(f"server  {line}"))


def join(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="BUNDLE", help="The device's bundle: a folder or .tar.gz.", show_default=False
        ),
    ],
    data: Annotated[
        str,
        typer.Option(
            help="The device's examples: npz, csv, parquet, or the word scenario, to use its data.",
            show_default=False,
        ),
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Only check whether this device can join.")
    ] = False,
) -> None:
    """Join a federation from a device, and rejoin after interruptions."""
    from fedsim.edge.bundle import Bundle

    screen = Screen.current()
    opened = Bundle.load(bundle)
    if check:
        from fedsim.edge.inspect import inspect

        checks = inspect(opened, data)
        if screen.json:
            screen.dump(checks)
        for check_result in [] if screen.json else checks:
            verdict = "ok " if check_result.is_well else "BAD"
            screen.say(f"{verdict} {check_result.what:<12}{check_result.text}")
        raise typer.Exit(0 if all(check_result.is_well for check_result in checks) else 4)
    from fedsim.edge.join import join as go_in

    go_in(opened, data, lambda line: screen.say(f"{opened.node}  {line}"))
    return None


def calibrate(
    folder: Folder,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="The file; by default configs/devices/NAME.yaml."),
    ] = None,
) -> None:
    """Measure the joined devices: seconds per epoch, bandwidth, availability."""
    from fedsim.edge.calibrate import text_of
    from fedsim.edge.drive import calibrate as measured
    from fedsim.edge.federation import Federation
    from fedsim.scenario.load import load

    screen = Screen.current()
    federation = Federation.load(folder)
    scenario = load(federation.scenario)
    calibration = measured(scenario, federation)
    if screen.json:
        return screen.dump(calibration)
    path = output or Path("configs", "devices", f"{federation.name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(calibration, federation.name, scenario.name), encoding="utf-8")
    for device in calibration["devices"]:
        screen.say(" · ".join(f"{name} {value}" for name, value in device.items()))
    return screen.say(f"saved   {path}")


def status(folder: Folder) -> None:
    """Show a federation's devices: which are connected, last seen or revoked."""
    from fedsim.edge.federation import Federation
    from fedsim.edge.status import look

    screen = Screen.current()
    current = look(Federation.load(folder))
    if screen.json:
        return screen.dump(current)
    head = ["node", "client", "state", "last seen", "address", "flwr", "up", "down"]
    screen.table(head, [_cells(row) for row in current.nodes], right=frozenset({"client"}))
    screen.say()
    up = "up" if current.is_up else "down"
    screen.say(f"server {up}, its certificate is valid for {current.days_left:.0f} days")
    if not current.is_up:
        return screen.next(f"fedsim edge server {folder}")
    return None


def revoke(
    folder: Folder,
    node: Annotated[str, typer.Argument(metavar="NODE", help="The device's name.")],
) -> None:
    """Revoke a device's key, at once and permanently."""
    from fedsim.edge.federation import Federation
    from fedsim.edge.status import take_out

    screen = Screen.current()
    note = take_out(Federation.load(folder), node)
    screen.say(f"revoked {node}")
    if note:
        screen.note(f"note    {note}", "yellow")
    screen.next(f"fedsim edge status {folder}")


def _cells(row: DeviceRow) -> list[str]:
    from fedsim.cli.formatting import size

    return [
        row.name,
        str(row.client),
        row.state,
        row.last_seen or "never",
        row.address or "-",
        row.flwr or "-",
        size(row.bytes_up),
        size(row.bytes_down),
    ]
