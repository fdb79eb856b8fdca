"""What metrics and averages are called on the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedsim.runlog.metric_info import MetricInfo

__all__ = ["DOMAIN", "ComparedMetric", "compared_metric"]

DOMAIN = "domain_"
"""Before the name of a domain: the primary metric on its test examples, ``domain_blurred``."""

_CLIENT = "client_"
_UNIFORM, _WORST = "_uniform", "_worst_10"

_SHARE_RIGHT = "share of the server's test examples that the model gets right"
_DEFINED = {
    "accuracy": _SHARE_RIGHT,
    "loss": "mean loss over the server's test examples",
}
"""What is said of metrics whose definition fits into a line."""


@dataclass(frozen=True)
class ComparedMetric:
    """A metric as a comparison names it: on the server's test set, on clients, on a domain."""

    info: MetricInfo
    """With the title that the page uses."""
    weighting: str
    """How it is averaged, within a run."""

    @property
    def is_lower_better(self) -> bool:
        """Whether the smallest value is the best."""
        return self.info.better == "lower"


def compared_metric(name: str, infos: Sequence[MetricInfo]) -> ComparedMetric:
    """Return what ``name`` means where a run measures ``infos``, the primary metric first.

    Raises:
        KeyError: if it is none of them, nor a clients' or a domain's.
    """
    by_name = {info.name: info for info in infos}
    if name.startswith(DOMAIN):
        return _on_domain(name.removeprefix(DOMAIN), infos[0])
    if name.startswith(_CLIENT):
        return _on_clients(name.removeprefix(_CLIENT), by_name, infos[0])
    info = by_name[name]
    defined = _DEFINED.get(name, f"{info.title} over the server's test examples together")
    if name == "accuracy":
        defined = f"{defined}, whoever an example would belong to"
    return _compared(info, f"test {info.title}", f"{defined}; every example counts the same")


def _on_domain(domain: str, primary: MetricInfo) -> ComparedMetric:
    kind = (
        f"{_SHARE_RIGHT.replace('test examples', f'test examples of domain {domain}')}"
        if primary.name == "accuracy"
        else f"{primary.title} over the server's test examples of domain {domain}"
    )
    return _compared(
        primary, f"{primary.title} on {domain}", f"{kind}; every example counts the same"
    )


def _on_clients(name: str, by_name: dict[str, MetricInfo], primary: MetricInfo) -> ComparedMetric:
    parts = "on their own test parts"
    if name in ("worst_10", f"{primary.name}{_WORST}"):
        plural = _plural(primary)
        return _compared(
            primary,
            f"{primary.title} of the worst tenth",
            f"mean of the clients' {plural} over the worst tenth of the clients; "
            "each of them counts the same",
        )
    if name == f"{primary.name}{_UNIFORM}":
        return _compared(
            primary,
            f"clients' {primary.title}, uniform",
            f"mean of the clients' {_plural(primary)} {parts}; every client counts the same",
        )
    info = by_name[name]
    how = (
        f"mean of the clients' accuracies {parts}, weighted by their numbers of test examples"
        if name == "accuracy"
        else f"{info.title} over all clients' test examples together; every example counts the same"
    )
    return _compared(info, f"clients' {info.title}", how)


def _plural(info: MetricInfo) -> str:
    return "accuracies" if info.name == "accuracy" else f"{info.title} values"


def _compared(info: MetricInfo, title: str, weighting: str) -> ComparedMetric:
    return ComparedMetric(replace(info, title=title), weighting)
