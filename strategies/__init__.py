"""The servers' rules, one per file; the file's name is the name in a scenario."""
