"""Which operations have other bits under which settings of the kernels; prints a table.

    python benchmarks/kernels.py

Each setting computes all operations in a process of its own, on the same inputs; a row tells for
each of them whether its bits are those of the first column, which leaves every library its choice.
A second processor is compared by running it there and comparing the digests with ``--digests``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable

SETTINGS = {
    "free": {},
    "here": {"MKL_CBWR": "AUTO,STRICT"},
    "MKL": {"MKL_CBWR": "AVX2"},
    "ATen": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "NumPy": {"NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR"},
    "OpenBLAS": {"OPENBLAS_CORETYPE": "Haswell"},
}
SETTINGS["anywhere"] = {
    name: value for column in list(SETTINGS)[2:] for name, value in SETTINGS[column].items()
}


def operations() -> dict[str, Callable[[], object]]:
    """Return the operations, each on inputs that depend on its place in the list alone."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    def with_gradient(loss: Callable[[torch.Tensor], torch.Tensor], *shape: int) -> torch.Tensor:
        weight = normal(*shape).requires_grad_()
        output = loss(weight)
        output.square().sum().backward()
        return torch.cat([output.flatten(), weight.grad.flatten()]).detach()

    vector, rows, layer = normal(1000), normal(10, 784), normal(100, 784)
    images, wide = normal(10, 3, 28, 28), normal(10, 32, 8, 8)
    matrix = normal(20, 20).double()
    double = vector.double().numpy()
    return {
        "exp": vector.exp,
        "log": vector.abs().log,
        "tanh": vector.tanh,
        "sigmoid": vector.sigmoid,
        "erf": vector.erf,
        "pow": lambda: vector.abs().pow(1.7),
        "exp, float64": vector.double().exp,
        "gelu": lambda: F.gelu(vector),
        "silu": lambda: F.silu(vector),
        "softmax": lambda: rows[:, :10].softmax(1),
        "log_softmax": lambda: rows[:, :10].log_softmax(1),
        "cross_entropy, gradient": lambda: with_gradient(
            lambda w: F.cross_entropy(w, torch.arange(10)), 10, 10
        ),
        "sum": rows.sum,
        "sum over rows": lambda: rows.sum(0),
        "sum over columns": lambda: rows.sum(1),
        "mean, float64": rows.double().mean,
        "norm": rows.norm,
        "std": lambda: rows.std(0),
        "dot": lambda: vector @ vector,
        "matrix x vector": lambda: layer @ rows[0],
        "matrix x matrix": lambda: rows @ layer.T,
        "matrix x matrix, narrow": lambda: normal(10, 64) @ normal(64, 10),
        "matrix x matrix, float64": lambda: rows.double() @ layer.double().T,
        "linear": lambda: F.linear(rows, layer, normal(100)),
        "bmm": lambda: torch.bmm(normal(16, 10, 784), normal(16, 784, 100)),
        "bmm, narrow": lambda: torch.bmm(normal(16, 10, 64), normal(16, 64, 10)),
        "conv 5x5, 3 to 16": lambda: with_gradient(
            lambda w: F.conv2d(images, w, padding=1), 16, 3, 5, 5
        ),
        "conv 3x3, 32 to 64": lambda: with_gradient(
            lambda w: F.conv2d(wide, w, padding=1), 64, 32, 3, 3
        ),
        "max_pool2d": lambda: F.max_pool2d(images, 2),
        "avg_pool2d": lambda: F.avg_pool2d(images, 2),
        "group_norm": lambda: F.group_norm(normal(4, 16, 8, 8), 4),
        "layer_norm": lambda: F.layer_norm(rows, (784,)),
        "batch_norm": lambda: F.batch_norm(images, None, None, training=True),
        "attention": lambda: F.scaled_dot_product_attention(*normal(3, 2, 2, 16, 8)),
        "interpolate": lambda: F.interpolate(images, scale_factor=2, mode="bilinear"),
        "bfloat16 matrix x matrix": lambda: (rows.bfloat16() @ layer.bfloat16().T).float(),
        "eigh": lambda: torch.linalg.eigh(matrix @ matrix.T).eigenvectors,
        "svd": lambda: torch.linalg.svd(matrix)[1],
        "solve": lambda: torch.linalg.solve(matrix, normal(20, 3).double()),
        "qr": lambda: torch.linalg.qr(matrix)[0],
        "randn": lambda: normal(1000),
        "randperm": lambda: torch.randperm(1000, generator=generator),
        "NumPy exp": lambda: np.exp(double),
        "NumPy log": lambda: np.log(np.abs(double)),
        "NumPy power": lambda: np.power(np.abs(double), 1.7),
        "NumPy sum": double.sum,
        "NumPy std": lambda: rows.numpy().std(0),
        "NumPy matrix x matrix": lambda: rows.double().numpy() @ layer.double().numpy().T,
        "NumPy dirichlet": lambda: np.random.default_rng(1).dirichlet(np.full(10, 0.3), 100),
        "NumPy normal": lambda: np.random.default_rng(1).normal(size=1000),
    }


def digests() -> dict[str, str]:
    """Return eight digits of each operation's hash."""
    import numpy as np

    return {
        name: hashlib.sha256(np.ascontiguousarray(operation()).tobytes()).hexdigest()[:8]
        for name, operation in operations().items()
    }


def digests_under(settings: dict[str, str]) -> dict[str, str]:
    """Return the digests of a process that starts with ``settings``."""
    names = {name for column in SETTINGS.values() for name in column}
    environment = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-W", "ignore", __file__, "--digests"]
    done = subprocess.run(
        command, env={**environment, **settings}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--digests", action="store_true", help="of this process alone, as JSON")
    if parser.parse_args().digests:
        print(json.dumps(digests()))
        return
    columns = {name: digests_under(settings) for name, settings in SETTINGS.items()}
    print(f"| operation | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for operation, first in columns["free"].items():
        cells = ["other" if column[operation] != first else "" for column in columns.values()]
        print(f"| {operation} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
