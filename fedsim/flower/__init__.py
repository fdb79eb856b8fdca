"""Flower at the boundary: the one room that imports flwr."""

from fedsim.flower.ours import as_flower_strategy

__all__ = ["as_flower_strategy"]
