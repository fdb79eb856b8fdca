"""The mathematics of FedDM: small synthetic sets that match a client's data."""
