"""How examples are split among clients, one way per file: the file is named as in a scenario."""
