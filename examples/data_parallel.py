"""Train a network on handwritten digits, data-parallel: each Dask worker keeps a part of the samples.

    python examples/data_parallel.py                       # two processes of this machine
    python examples/data_parallel.py tcp://scheduler:8786  # a cluster

Needs ``pip install 'rectifier[demo,distributed]'``.
"""

from __future__ import annotations

import sys

import dask
import dask.array as da
import numpy as np

from rectifier import relu, softmax

UNITS, CLASSES = 128, 10


def digits(parts: int = 4):
    """Give the samples, cut into parts, and their classes as rows with a single 1."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    x = (bunch.data / 16).astype(np.float32)
    target = np.eye(CLASSES, dtype=np.float32)[bunch.target]
    samples = -(-len(x) // parts)
    return da.from_array(x, chunks=(samples, -1)), da.from_array(target, chunks=(samples, -1))


def start(inputs: int):
    """Give the weights and biases of the first step, the same wherever it runs."""
    random = np.random.default_rng(0)
    return [
        random.standard_normal((inputs, UNITS), np.float32) * np.float32((2 / inputs) ** 0.5),
        np.zeros(UNITS, np.float32),
        random.standard_normal((UNITS, CLASSES), np.float32) * np.float32((2 / UNITS) ** 0.5),
        np.zeros(CLASSES, np.float32),
    ]


def gradients(x, target, w1, b1, w2, b2):
    """Give the gradients of all samples together; only these, not the samples, travel."""
    h, mask = relu.with_mask(x @ w1 + b1)
    dlogits = (softmax(h @ w2 + b2) - target) / np.float32(len(x))
    dh = relu.backward(dlogits @ w2.T, mask=mask)
    return x.T @ dh, dh.sum(axis=0), h.T @ dlogits, dlogits.sum(axis=0)


def train(x, target, steps: int = 40, rate: float = 0.5):
    """Descend along the gradient of all samples."""
    x, target = dask.persist(x, target)
    parameters = start(x.shape[1])
    for _ in range(steps):
        computed = dask.compute(*gradients(x, target, *parameters))
        parameters = [p - np.float32(rate) * g for p, g in zip(parameters, computed, strict=True)]
    return parameters


def accuracy(x, target, w1, b1, w2, b2) -> float:
    """Give the part of the samples whose class gets the largest logit."""
    found = (relu(x @ w1 + b1) @ w2 + b2).argmax(axis=1)
    return float((found == target.argmax(axis=1)).mean().compute())


def main(address: str | None) -> None:
    """Train on the cluster at an address, or on two processes of this machine."""
    from distributed import Client, LocalCluster

    cluster = address or LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
    with Client(cluster) as client:
        x, target = digits()
        parameters = train(x, target)
        print(f"{len(client.nthreads())} workers: {accuracy(x, target, *parameters):.1%} of the samples")
    if not address:
        cluster.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
