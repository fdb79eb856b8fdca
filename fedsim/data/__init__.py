"""Examples: from where, how split among clients, and whose they are."""
