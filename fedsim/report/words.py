"""What metrics and averages are called on the page."""

from __future__ import annotations

__all__ = ["METRICS", "WEIGHTING"]

METRICS = {
    "accuracy": "test accuracy",
    "loss": "test loss",
    "client_accuracy": "clients' accuracy",
    "client_accuracy_uniform": "clients' accuracy, uniform",
    "client_worst_10": "accuracy of the worst tenth",
}
WEIGHTING = {
    "accuracy": "share of the server's test examples that the model gets right; every example "
    "counts the same, whoever it would belong to",
    "loss": "mean loss over the server's test examples; every example counts the same",
    "client_accuracy": "mean of the clients' accuracies on their own test parts, weighted by "
    "their numbers of test examples",
    "client_accuracy_uniform": "mean of the clients' accuracies on their own test parts; every "
    "client counts the same",
    "client_worst_10": "mean of the clients' accuracies over the worst tenth of the clients; "
    "each of them counts the same",
}
"""How each metric is averaged, within a run."""
