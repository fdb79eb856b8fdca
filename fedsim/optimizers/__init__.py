"""Optimisers of local training and schedules of their step size."""
