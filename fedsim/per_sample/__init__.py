"""Gradients of single examples, clipped and summed, for DP-SGD."""
