"""One client's work, the same wherever it runs."""
