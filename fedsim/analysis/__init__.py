"""What is computed from finished runs: comparisons, statistics, tables."""
