"""Lets typer 0.20 be imported beside click 8.5, of which it asks names that click is retiring."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("filterwarnings", "ignore:'click:DeprecationWarning")
