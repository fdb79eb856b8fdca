"""How soon a device that was killed is back, by how long it was away.

    python benchmarks/edge_restarts.py [--times 5] [--delays 5 15 45 90]

One device for each delay, all at one server, killed as if by a power cut: nobody says goodbye to
the server.  Two more: one that comes back without what it kept on its disk, as after a change of
the disk, and one whose Flower process alone dies while its supervisor lives.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from edge_parts import Lab, Part

from fedsim.edge.processes import family

SCENARIO = Path(__file__).parents[1] / "scenarios" / "quickstart.yaml"


def cut(part: Part, delay: float) -> float:
    seen = len(part.lines())
    part.vanish()
    time.sleep(delay)
    part.start()
    return part.await_line("joined", seen)


def cut_and_forget(part: Part, delay: float) -> float:
    seen = len(part.lines())
    part.vanish()
    archive = Path(part.words[2])
    (archive.parent / archive.name.removesuffix(".tar.gz") / "state" / "joined").unlink()
    time.sleep(delay)
    part.start()
    return part.await_line("joined", seen)


def crash(part: Part, delay: float) -> float:
    seen = len(part.lines())
    for pid in family(part.process.pid) if part.process else []:
        os.kill(pid, signal.SIGKILL)
    return part.await_line("joined", seen)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--delays", type=float, nargs="+", default=[5, 15, 45, 90])
    asked = parser.parse_args()
    jobs: dict[str, tuple[Callable[[Part, float], float], float]] = {
        f"after-{delay:g}": (cut, delay) for delay in asked.delays
    }
    jobs |= {"forgot": (cut_and_forget, 5.0), "crashed": (crash, 0.0)}
    took: dict[str, list[float]] = {name: [] for name in jobs}
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder), SCENARIO, list(jobs))
        try:
            lab.start(*jobs)

            def repeat(name: str) -> None:
                act, delay = jobs[name]
                for _ in range(asked.times):
                    took[name].append(act(lab.devices[name], delay))
                    print(f"{name}  {took[name][-1]:.1f} s", flush=True)
                    time.sleep(2.0)

            threads = [threading.Thread(target=repeat, args=(name,)) for name in jobs]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            states = lab.states()
        finally:
            lab.stop()
    for name, seconds in took.items():
        median, most = (statistics.median(seconds), max(seconds)) if seconds else (0, 0)
        print(
            f"{name}: joined again {len(seconds)}/{asked.times}, "
            f"median {median:.1f} s, most {most:.1f} s, now {states[name]}"
        )


if __name__ == "__main__":
    main()
