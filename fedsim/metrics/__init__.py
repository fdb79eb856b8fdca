"""Metrics as functions of sums, so that every way of pooling them is exact."""
