"""Domains: every client holds examples of one domain, several clients may share a domain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Ge, Gt

from fedsim.data.dataset import Array, Dataset
from fedsim.data.partitions.dirichlet import Dirichlet
from fedsim.data.partitions.iid import Iid
from fedsim.errors import DataError
from fedsim.seeds import integer

__all__ = ["Domains"]


@dataclass(frozen=True)
class Domains:
    """Each domain is split among clients of its own, in the order of the domains.

    Clients of one domain share it evenly, or with label skew where ``alpha`` is given.
    """

    clients_per_domain: Annotated[int, Ge(1)] = 1
    alpha: Annotated[float, Gt(0)] | None = None
    """Splits each domain as ``dirichlet`` does; null splits it as ``iid`` does."""
    min_size: Annotated[int, Ge(1)] = 10
    """With ``alpha``: the fewest examples of a client."""
    targets: tuple[str, ...] = ()
    """Domains whose clients have the role ``target``: their labels are never trained on."""

    def deal(self, dataset: Dataset, clients: int | None, seed: int) -> list[Array]:
        """Return each client's indices; every example occurs once.

        Raises:
            DataError: if the data has no domains, or has not those named in ``targets``, or
                ``clients`` is another number than domains and ``clients_per_domain`` make; if
                no source is left, or the sources lack a class.
        """
        if dataset.domain is None:
            raise DataError("the domains partition needs domains, and the data has none")
        domains = np.unique(dataset.domain)
        self._check(dataset, clients, len(domains))
        within = Iid() if self.alpha is None else Dirichlet(self.alpha, self.min_size)
        indices_by_client: list[Array] = []
        for domain in domains:
            rows = np.flatnonzero(dataset.domain == domain)
            subset = dataset.subset(rows, client=None, domain=None)
            generator = integer(seed, "domain", int(domain))
            indices_by_client += [
                rows[indices] for indices in within.deal(subset, self.clients_per_domain, generator)
            ]
        return indices_by_client

    def _check(self, dataset: Dataset, clients: int | None, domains: int) -> None:
        for name in self.targets:
            if name not in dataset.domain_names:
                named = ", ".join(dataset.domain_names) or "none by name"
                raise DataError(f"target domain '{name}' is not in the data; it has {named}")
        if self.targets:
            self._check_sources(dataset)
        expected = domains * self.clients_per_domain
        if clients is not None and clients != expected:
            raise DataError(
                f"clients.count is {clients}, but {domains} domains with {self.clients_per_domain}"
                f" clients each make {expected}; say {expected} or null"
            )

    def _check_sources(self, dataset: Dataset) -> None:
        """Refuse what no one could adapt from, or to."""
        domain = np.asarray(dataset.domain)
        targets = [dataset.domain_names.index(name) for name in self.targets]
        for name, target in zip(self.targets, targets, strict=True):
            if not np.any(domain == target):
                raise DataError(f"target domain '{name}' has no examples: no client can hold it")
        at_source = ~np.isin(domain, targets)
        if not at_source.any():
            raise DataError(
                f"targets names every domain ({', '.join(self.targets)}): a target is no source "
                "of its own, so leave at least one domain out"
            )
        if not dataset.classes:
            return
        source_classes = np.unique(dataset.labels[at_source])
        if len(absent := np.setdiff1d(np.arange(dataset.classes), source_classes)):
            names = [dataset.class_names[c] if dataset.class_names else str(c) for c in absent]
            raise DataError(
                f"no source domain has an example of class {', '.join(names)}: it cannot be "
                "learned, so leave it out of the data or make a domain that has it a source"
            )
