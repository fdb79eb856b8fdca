"""Where examples come from, one source per file; the file's name is the name in a scenario."""
