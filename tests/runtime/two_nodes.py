"""Two nodes on this machine, in a process of their own, until its standard input ends.

    python two_nodes.py FOLDER CPUS

``CPUS`` are the second node's; the first has one.  Each node has its own folder for temporary
files in ``FOLDER``.  For each line that comes in, the bytes that each node's object store was
given go out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(folder: Path, cpus: int) -> None:
    from ray._private.internal_api import node_stats
    from ray.cluster_utils import Cluster

    stats: Any = node_stats  # Ray has no types for it

    def node(name: str, cpus: int) -> dict[str, Any]:
        (folder / name).mkdir()
        env = {"TMPDIR": str(folder / name), "OMP_NUM_THREADS": "1"}
        return {"num_cpus": cpus, "node_ip_address": "127.0.0.1", "env_vars": env}

    head = {**node("head", 1), "include_dashboard": False}
    cluster: Any = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.head_node, cluster.add_node(**node("far", cpus))]
    cluster.wait_for_nodes()
    try:
        print(json.dumps([cluster.address]), flush=True)
        for _ in sys.stdin:
            stores = (stats("127.0.0.1", one.node_manager_port, False).store_stats for one in nodes)
            print(json.dumps([one.cumulative_created_bytes for one in stores]), flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
