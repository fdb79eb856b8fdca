"""What a scenario file may say: every key, its type and its default."""
