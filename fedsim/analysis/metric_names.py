"""What metrics and averages are called on the page."""

from __future__ import annotations

from collections import UserDict

__all__ = ["DOMAIN", "METRICS", "WEIGHTING"]

DOMAIN = "domain_"
"""How the accuracy on one domain's test examples is called: ``domain_blurred``."""


class _MetricNames(UserDict[str, str]):
    def __missing__(self, metric: str) -> str:
        if not metric.startswith(DOMAIN):
            raise KeyError(metric)
        return self[DOMAIN].format(metric.removeprefix(DOMAIN))


METRICS = _MetricNames(
    {
        "accuracy": "test accuracy",
        "loss": "test loss",
        "client_accuracy": "clients' accuracy",
        "client_accuracy_uniform": "clients' accuracy, uniform",
        "client_worst_10": "accuracy of the worst tenth",
        DOMAIN: "accuracy on {}",
    }
)
WEIGHTING = _MetricNames(
    {
        "accuracy": "share of the server's test examples that the model gets right; every example "
        "counts the same, whoever it would belong to",
        "loss": "mean loss over the server's test examples; every example counts the same",
        "client_accuracy": "mean of the clients' accuracies on their own test parts, weighted by "
        "their numbers of test examples",
        "client_accuracy_uniform": "mean of the clients' accuracies on their own test parts; every "
        "client counts the same",
        "client_worst_10": "mean of the clients' accuracies over the worst tenth of the clients; "
        "each of them counts the same",
        DOMAIN: "share of the server's test examples of domain {} that the model gets right; every "
        "example counts the same",
    }
)
"""How each metric is averaged, within a run."""
