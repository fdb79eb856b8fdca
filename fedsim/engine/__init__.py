"""A run: its setup, its rounds, its evaluation and its result."""
