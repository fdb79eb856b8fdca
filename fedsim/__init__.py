"""Federated learning: one YAML file per experiment, simulated fast and run on real devices."""
