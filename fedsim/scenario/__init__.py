"""The scenario file: its schema, how it is read, and what makes it wrong."""
