"""What a run leaves behind: the log, checkpoints, the result."""
