"""FedJAX's way on today's JAX: a compiled program for all clients of a round, by vmap and scan.

FedJAX itself does not install on current Python; what it does for federated averaging is this.
Runs in an environment of its own, which needs nothing but jax.
"""

from __future__ import annotations

import argparse
import json
import os
import time

import jax
import jax.numpy as jnp
import numpy as np
from workloads import WORKLOADS, Workload, tree_cpu


def initial(work: Workload) -> dict[str, jax.Array]:
    generator = np.random.default_rng(0)

    def layer(*shape: int) -> jax.Array:
        return jnp.asarray(0.05 * generator.standard_normal(shape), jnp.float32)

    if work.hidden:
        return {"a": layer(work.side**2, work.hidden), "b": layer(work.hidden, 10)} | {
            "c": jnp.zeros(work.hidden),
            "d": jnp.zeros(10),
        }
    one, two, side = *work.channels, work.kernel
    return {
        "a": layer(side, side, 1, one),
        "b": layer(side, side, one, two),
        "e": layer(work.flat, 128),
        "f": layer(128, 10),
        **{"c": jnp.zeros(one), "d": jnp.zeros(two), "g": jnp.zeros(128), "h": jnp.zeros(10)},
    }


def logits(weights: dict[str, jax.Array], x: jax.Array, work: Workload) -> jax.Array:
    if work.hidden:
        hidden = jax.nn.relu(x.reshape(len(x), -1) @ weights["a"] + weights["c"])
        return hidden @ weights["b"] + weights["d"]
    pad = "SAME" if work.padding else "VALID"
    for kernel, bias in (("a", "c"), ("b", "d")):
        x = jax.lax.conv_general_dilated(
            x, weights[kernel], (1, 1), pad, dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = jax.nn.relu(x + weights[bias])
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    x = jax.nn.relu(x.reshape(len(x), -1) @ weights["e"] + weights["g"])
    return x @ weights["f"] + weights["h"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workload")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--loop", action="store_true", help="client after client, no vmap")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    work = WORKLOADS[options.workload]

    def loss(weights, x, y):
        logs = jax.nn.log_softmax(logits(weights, x, work))
        return -jnp.take_along_axis(logs, y[:, None], 1).mean()

    def train(weights, xs, ys):
        def step(held, batch):
            slope = jax.grad(loss)(held, *batch)
            return jax.tree.map(lambda w, g: w - work.lr * g, held, slope), None

        after, _ = jax.lax.scan(step, weights, (xs, ys))
        return jax.tree.map(jnp.subtract, after, weights)

    @jax.jit
    def one_round(weights, xs, ys):
        if options.loop:

            def add(total, client):
                return jax.tree.map(jnp.add, total, train(weights, *client)), None

            total, _ = jax.lax.scan(add, jax.tree.map(jnp.zeros_like, weights), (xs, ys))
        else:
            deltas = jax.vmap(train, (None, 0, 0))(weights, xs, ys)
            total = jax.tree.map(lambda d: d.sum(0), deltas)
        return jax.tree.map(lambda w, t: w + t / len(xs), weights, total)

    generator = np.random.default_rng(1)
    shape = (work.clients, work.examples, work.side, work.side, 1)
    inputs = generator.standard_normal(shape, np.float32)
    labels = generator.integers(0, 10, shape[:2])
    weights, wall, cpu = initial(work), [], []
    for number in range(options.rounds):
        start, before = time.perf_counter(), tree_cpu()
        first = number * work.cohort % work.clients
        at = slice(first, first + work.cohort)
        order = np.argsort(generator.random((work.cohort, work.examples)), axis=1)
        batches = (work.cohort, work.examples // work.batch, work.batch)
        xs = np.take_along_axis(inputs[at], order[..., None, None, None], 1)
        ys = np.take_along_axis(labels[at], order, 1)
        weights = one_round(weights, xs.reshape(*batches, *shape[2:]), ys.reshape(batches))
        jax.block_until_ready(weights)
        wall.append(time.perf_counter() - start)
        cpu.append(tree_cpu() - before)
    print(json.dumps({"wall": wall[1:], "cpu": cpu[1:]}))


if __name__ == "__main__":
    main()
