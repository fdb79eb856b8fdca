"""How examples are dealt to clients, one way per file: the file is named as in a scenario."""
