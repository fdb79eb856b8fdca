"""``fedsim cluster check``: would a run work on this Ray cluster, and with how many workers?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import click
import typer

from fedsim.cli.formatting import size
from fedsim.cli.options import Set
from fedsim.cli.screen import Screen
from fedsim.errors import DataError, MissingPackage

if TYPE_CHECKING:
    from fedsim.runtime.cluster import ClusterReport, NodeReport
    from fedsim.schema.scenario import Compute
from fedsim.schema.wording import plural

__all__ = ["check"]

_HEAD = ["node", "name", "workers", "CPUs", "GPUs", "memory", "data", "fetches", "clock"]
_RIGHT = frozenset(["workers", "CPUs", "GPUs", "memory", "fetches", "clock"])
_LATE_S = 1.0
"""A clock that is further off spoils the times that a run's timeline tells."""


def check(
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[FILE]",
            help="A scenario, whose compute section and run folder are looked at.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="auto (a cluster that this machine is part of), host:port, or ray://host:port.",
            show_default="the scenario's, or auto",
        ),
    ] = None,
    sets: Set = None,
) -> None:
    """Check each node of a Ray cluster for a run.

    What it has, which versions differ from this machine's, whether it sees the
    folder of runs (a run ships its data, once, to a node that does not), how
    fast bytes get there, and how many workers a run would have.

    Exit code 0: a run would work; 2: not; 3: its data could not be kept there.
    """
    from importlib.util import find_spec

    from fedsim.scenario.load import placed

    screen = Screen.current()
    if file is None and sets:
        raise click.UsageError("--set changes a scenario: name its FILE too")
    changes = [*(sets or []), *([f"compute.address={address}"] if address else [])]
    compute, folder = _wanted(file, changes, address)
    if find_spec("ray") is None:
        raise MissingPackage("a cluster needs Ray; install it with: pip install 'fedsim[sim]'")
    from fedsim.runtime.cluster import survey

    with placed(file, changes) if file else nullcontext():
        report = survey(compute, folder)
    if screen.json:
        screen.dump(report)
    else:
        _show(report, screen)
    if any(node.faults for node in report.nodes):
        raise typer.Exit(2)
    if any(node.data_fault for node in report.nodes):
        raise typer.Exit(DataError.exit_code)
    screen.next(f"fedsim run {file or 'FILE'} --set compute.address={report.address}")


def _wanted(file: Path | None, changes: list[str], address: str | None) -> tuple[Compute, Path]:
    """Return what a run would ask of the cluster, and where it would put its folder."""
    from fedsim.scenario.load import load
    from fedsim.schema.scenario import Compute

    if file is None:
        try:
            return Compute.model_validate({"address": address or "auto"}), Path("runs")
        except ValueError:
            expected = f"auto, host:port or ray://host:port is expected, got {address!r}"
            raise click.BadParameter(expected, param_hint="--address") from None
    scenario = load(file, changes)
    compute = scenario.compute
    if compute.address is None:
        compute = compute.model_copy(update={"address": "auto"})
    return compute, Path(scenario.output.dir)


def _show(report: ClusterReport, screen: Screen) -> None:
    screen.table(_HEAD, [_row(node) for node in report.nodes], _RIGHT)
    ours = ", ".join(f"{name} {release}" for name, release in report.versions.items())
    others = any(node.notes or node.faults for node in report.nodes)
    screen.say(f"here     {ours}" if others else f"all have {ours}")
    for node in report.nodes:
        for text in _notes(node):
            screen.say(f"warn     node {node.id[:8]}: {text}", "yellow")
        for text in (*node.faults, *([node.data_fault] if node.data_fault else [])):
            screen.error(f"node {node.id[:8]} ({node.name}): {text}")
    share = f", {report.gpus_per_worker:g} GPU each" if report.gpus_per_worker else ""
    where = sum(node.workers > 0 for node in report.nodes)
    screen.say(f"workers  {report.workers} on {plural(where, 'node')}{share}")
    if report.free_cpus < report.workers:
        free = "1 CPU is" if report.free_cpus == 1 else f"{report.free_cpus} CPUs are"
        wait = "a run waits until others give theirs back"
        screen.say(f"warn     {free} free now: {wait}", "yellow")


def _row(node: NodeReport) -> list[str]:
    speed = "-" if node.bytes_per_second is None else f"{size(node.bytes_per_second)}/s"
    data_access = {None: "-", True: "seen", False: "shipped"}[node.sees_data]
    return [
        node.id[:8],
        node.name,
        str(node.workers),
        str(node.cpus),
        f"{node.gpus:g}",
        "-" if node.memory_bytes is None else size(node.memory_bytes),
        data_access,
        "(here)" if node.is_here else speed,
        "(here)" if node.is_here else _clock(node.clock_seconds),
    ]


def _clock(ahead: float | None) -> str:
    if ahead is None:
        return "-"
    return f"{ahead:+.1f} s" if abs(ahead) > _LATE_S else f"{1000 * ahead:+.1f} ms"


def _notes(node: NodeReport) -> Iterator[str]:
    for text in node.notes:
        yield f"{text}: results may differ in their last bits"
    if node.clock_seconds is not None and abs(node.clock_seconds) > _LATE_S:
        yield f"its clock is {node.clock_seconds:+.1f} s off: so will the run's timeline be"
