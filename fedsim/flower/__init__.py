"""Flower at the boundary: the one room that imports flwr."""

from fedsim.flower.as_flower import as_flower_strategy

__all__ = ["as_flower_strategy"]
