"""The commands of the command line, one file each; torch, ray and flwr load inside a command."""

from fedsim.cli.app import main

__all__ = ["main"]
