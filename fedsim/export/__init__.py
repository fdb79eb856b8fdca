"""Trained models on their way out: with their preprocessing, to files that others read."""
