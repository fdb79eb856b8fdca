"""FedAvg: average the clients' updates, weighted by their examples.

References:
    McMahan, Moore, Ramage, Hampson, Agüera y Arcas, "Communication-Efficient Learning of Deep
    Networks from Decentralized Data", AISTATS 2017, arXiv:1602.05629.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedsim.strategy import Strategy

__all__ = ["FedAvg"]


@dataclass(frozen=True)
class FedAvg(Strategy):
    """Algorithm 1 of the paper: the verbs as :class:`Strategy` has them.

    With one client it is plain training on that client's examples.
    """
