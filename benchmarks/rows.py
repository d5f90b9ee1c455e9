"""Softmax and its logarithm beside one rival, alternating in one process: python benchmarks/rows.py torch [float64]."""

import importlib
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from rectifier import log_softmax, softmax

SHAPES = ((10, 10), (100, 100), (100_000, 10), (1000, 1000), (20, 50_000))
NAMES = ("softmax", "log_softmax", "softmax.backward from y")
ROUNDS, PAUSE, LEAST_SECONDS = 15, 0.005, 0.002


def torch(x, dy, y):
    """Give PyTorch's; backward is the operator that its autograd calls."""
    torch = importlib.import_module("torch")
    tx, tdy, ty = map(torch.from_numpy, (x, dy, y))
    yield lambda: torch.softmax(tx, -1)
    yield lambda: torch.log_softmax(tx, -1)
    yield lambda: torch.ops.aten._softmax_backward_data(tdy, ty, -1, tx.dtype)


def jax(x, dy, y):
    """Give JAX's, compiled; backward is from x."""
    jax = importlib.import_module("jax")
    jax.config.update("jax_enable_x64", True)
    jx, jdy = jax.numpy.asarray(x), jax.numpy.asarray(dy)
    for function in (jax.nn.softmax, jax.nn.log_softmax):
        yield partial(_wait, jax.jit(function), jx)
    gradient = jax.jit(lambda x, dy: jax.vjp(jax.nn.softmax, x)[1](dy)[0])
    yield partial(_wait, gradient, jx, jdy)


def _wait(call, *arrays):
    return call(*arrays).block_until_ready()


def tensorflow(x, dy, y):
    """Give TensorFlow's; backward is what its gradient computes, as a graph."""
    tf = importlib.import_module("tensorflow")
    tx, tdy, ty = map(tf.constant, (x, dy, y))
    yield lambda: tf.nn.softmax(tx)
    yield lambda: tf.nn.log_softmax(tx)
    gradient = tf.function(lambda dy, y: y * (dy - tf.reduce_sum(dy * y, -1, keepdims=True)))
    yield lambda: gradient(tdy, ty)


def scipy(x, dy, y):
    """Give SciPy's; backward in NumPy."""
    special = importlib.import_module("scipy.special")
    yield lambda: special.softmax(x, axis=-1)
    yield lambda: special.log_softmax(x, axis=-1)
    yield lambda: y * (dy - (dy * y).sum(-1, keepdims=True))


def seconds(call: Callable[[], object], repeat: int) -> float:
    """Time a call, after a pause in which threads go to sleep, and a call that is discarded."""
    time.sleep(PAUSE)
    call()
    begin = time.perf_counter()
    for _ in range(repeat):
        call()
    return (time.perf_counter() - begin) / repeat


def main(rival: str, dtype: str = "float32") -> None:
    """Print the medians of both, and of the rival's time divided by ours."""
    random = np.random.default_rng(0)
    for shape in SHAPES:
        x, dy = (random.standard_normal((2, *shape)) * 3).astype(dtype)
        y = softmax(x)
        ours = (partial(softmax, x), partial(log_softmax, x), partial(softmax.backward, dy, y=y))
        for name, mine, theirs in zip(NAMES, ours, globals()[rival](x, dy, y), strict=True):
            theirs()
            repeat = max(1, int(LEAST_SECONDS / max(seconds(mine, 1), 1e-9)))
            rounds = []
            for k in range(ROUNDS):
                order = (mine, theirs)[:: 1 if k % 2 else -1]
                rounds.append(tuple(seconds(call, repeat) for call in order)[:: 1 if k % 2 else -1])
            a, b = (statistics.median(times) * 1e6 for times in zip(*rounds, strict=True))
            ratio = statistics.median(theirs / mine for mine, theirs in rounds)
            print(f"{name:24} {shape!s:14} {a:9.1f} us, {rival} {b:9.1f} us: {ratio:.2f}x", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
