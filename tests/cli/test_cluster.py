"""What ``fedsim cluster check`` says is read at a glance, and refuses what it cannot look at."""

from __future__ import annotations

import pytest
from rich.console import Console

from fedsim.cli.app import main
from fedsim.cli.cluster_command import _show
from fedsim.cli.screen import Screen

pytest.importorskip("ray")

HERE = {"python": "3.11.7", "fedsim": "0.1.0", "torch": "2.13.0"}


def test_a_table_of_the_nodes_and_one_line_for_each_thing_to_know(capsys) -> None:
    from fedsim.runtime.cluster import ClusterReport, NodeReport

    head = NodeReport("a" * 56, "head", True, 2, 2, 0.0, 8_000_000_000, HERE, (), True)
    far = NodeReport(
        id="b" * 56,
        name="pc2",
        is_here=False,
        workers=1,
        cpus=1,
        gpus=0.0,
        memory_bytes=4_000_000_000,
        versions={**HERE, "torch": "2.12.0", "fedsim": "0.2.0"},
        notes=("torch 2.12.0 there, 2.13.0 here",),
        faults=("fedsim 0.2.0 there, 0.1.0 here",),
        sees_data=False,
        bytes_per_second=1.1e9,
        clock_seconds=-90.0,
    )
    report = ClusterReport("auto", 3, 0.0, 1, HERE, (head, far))
    _show(report, Screen(Console(width=100), Console(stderr=True, width=100)))
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "node      name  workers  CPUs  GPUs  memory  data      fetches    clock",
        "aaaaaaaa  head        2     2     0  8.0 GB  seen       (here)   (here)",
        "bbbbbbbb  pc2         1     1     0  4.0 GB  shipped  1.1 GB/s  -90.0 s",
        "here     python 3.11.7, fedsim 0.1.0, torch 2.13.0",
        "warn     node bbbbbbbb: torch 2.12.0 there, 2.13.0 here: "
        "results may differ in their last bits",
        "warn     node bbbbbbbb: its clock is -90.0 s off: so will the run's timeline be",
        "workers  3 on 2 nodes",
        "warn     1 CPU is free now: a run waits until others give theirs back",
    ]
    assert said.err == "error: node bbbbbbbb (pc2): fedsim 0.2.0 there, 0.1.0 here\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--address", "nonsense"], "auto, host:port or ray://host:port is expected, got 'nons"),
        (["--set", "rounds=3"], "--set changes a scenario: name its FILE too"),
        (["--address", "127.0.0.1:1"], "compute.address: 127.0.0.1:1: nothing answers there"),
    ],
)
def test_what_cannot_be_looked_at_is_refused(words, said, capsys) -> None:
    assert main(["cluster", "check", *words]) == 2
    assert said in capsys.readouterr().err
