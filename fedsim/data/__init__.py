"""Examples: from where, how dealt to clients, and whose they are."""
