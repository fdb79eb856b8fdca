"""Where clients run: grids that carry messages to workers, in process or on Ray."""
