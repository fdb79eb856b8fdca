"""What stands around a run from Python: progress, and everything put back as it was."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fedsim.runlog.events import Event, RoundDone, Watch

__all__ = ["as_before", "watching"]


@contextmanager
def as_before() -> Iterator[None]:
    """Put PyTorch's thread count and the environment back as they were."""
    import torch

    threads, environment = torch.get_num_threads(), dict(os.environ)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


@contextmanager
def watching(rounds: int) -> Iterator[Watch]:
    """Redraw one line on a terminal or in a notebook; say nothing elsewhere."""
    is_notebook = "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None
    is_shown = is_notebook or sys.stderr.isatty()

    def watch(event: Event) -> None:
        if is_shown and isinstance(event, RoundDone):
            values = [f"{name} {value:.4g}" for name, value in event.record.metrics.items()]
            line = f"round {event.record.round}/{rounds}  {'  '.join(values[:3])}"
            sys.stderr.write(f"\r{line[:100]:<100}")
            sys.stderr.flush()

    try:
        yield watch
    finally:
        if is_shown:
            sys.stderr.write("\n")
