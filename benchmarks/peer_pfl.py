"""pfl-research on a speed workload, where `pfl` is installed; torchrun starts several processes."""

from __future__ import annotations

import argparse
import json
import os
import time
from itertools import pairwise

import torch
from pfl.aggregate.simulate import SimulatedBackend
from pfl.algorithm.base import NNAlgorithmParams
from pfl.algorithm.federated_averaging import FederatedAveraging
from pfl.callback.base import TrainingProcessCallback
from pfl.data.dataset import Dataset
from pfl.data.federated_dataset import FederatedDataset
from pfl.hyperparam import NNTrainHyperParams
from pfl.metrics import Metrics, Weighted
from pfl.model.pytorch import PyTorchModel
from speed_parts import bare, tensors
from workloads import WORKLOADS, tree_cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    work = WORKLOADS[options.workload]
    inputs, labels = tensors(work)

    class Net(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = bare(work)

        def loss(self, x: torch.Tensor, y: torch.Tensor, is_eval: bool = False) -> torch.Tensor:
            return torch.nn.functional.cross_entropy(self.net(x), y)

        def metrics(self, x: torch.Tensor, y: torch.Tensor, is_eval: bool = False) -> object:
            return {"loss": Weighted(float(self.loss(x, y)) * len(y), len(y))}

    def of(client: int) -> Dataset:
        return Dataset((inputs[client], labels[client]), user_id=str(client))

    turn = iter(range(10**9))
    data = FederatedDataset(of, lambda: next(turn) % work.clients)
    wall, cpu, marks = [], [], []

    class Clock(TrainingProcessCallback):
        def after_central_iteration(
            self, aggregate_metrics: Metrics, model: object, *, central_iteration: int
        ) -> tuple[bool, Metrics]:
            marks.append((time.perf_counter(), tree_cpu()))
            return False, Metrics()

    module = Net()
    model = PyTorchModel(module, torch.optim.SGD, torch.optim.SGD(module.parameters(), lr=1.0))
    FederatedAveraging().run(
        NNAlgorithmParams(options.rounds, 10**6, work.cohort, 0),
        SimulatedBackend(data, None),
        model,
        NNTrainHyperParams(
            local_num_epochs=1, local_learning_rate=work.lr, local_batch_size=work.batch
        ),
        callbacks=[Clock()],
    )
    for (t0, c0), (t1, c1) in pairwise(marks):
        wall.append(t1 - t0)
        cpu.append(c1 - c0)
    if os.environ.get("RANK", "0") == "0":
        print(json.dumps({"wall": wall, "cpu": cpu}))


if __name__ == "__main__":
    main()
