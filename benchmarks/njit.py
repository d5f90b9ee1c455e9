"""Time the functions inside @njit beside the recipe's, and beside the calls outside: python benchmarks/njit.py."""

from __future__ import annotations

import statistics
import time

import numpy as np
from numba import njit

from rectifier import gelu, relu, settings, sigmoid

ROUNDS = 15


@njit(fastmath=True)
def recipe(x):
    """Compute the ReLU as the recipe does."""
    return np.maximum(0.0, x)


@njit(fastmath=True)
def recipe_derivative(x):
    """Compute its derivative as the recipe does."""
    return np.greater(x, 0.0).astype(np.float32)


@njit
def by_numba(x):
    """Compute the logistic sigmoid with Numba's own exponential."""
    return 1 / (1 + np.exp(-x))


inside = {
    "relu": njit(lambda x: relu(x)),
    "relu.derivative": njit(lambda x: relu.derivative(x)),
    "sigmoid": njit(lambda x: sigmoid(x)),
    "gelu": njit(lambda x: gelu(x)),
}
outside = {"relu": relu, "relu.derivative": relu.derivative, "sigmoid": sigmoid, "gelu": gelu}
others = {"relu": recipe, "relu.derivative": recipe_derivative, "sigmoid": by_numba}


def main() -> None:
    """Print a table, of one thread: times of an element, and medians of ratios of alternating calls."""
    settings.threads = 1
    print(f"{'':16} {'size':>8} {'ns inside':>10} {'Numba / inside':>15} {'outside / inside':>17}")
    for size in (1_000, 100_000, 1_000_000):
        x = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        for name, call in inside.items():
            calls = [call, others.get(name, call), outside[name]]
            times = [[_time(function, x) for function in calls] for _ in range(ROUNDS)]
            ours, other, direct = zip(*times, strict=True)
            ratio = statistics.median(b / a for a, b in zip(ours, other, strict=True)) if name in others else 0
            against = f"{ratio:.2f}" if ratio else ""
            plain = statistics.median(b / a for a, b in zip(ours, direct, strict=True))
            print(f"{name:16} {size:8} {1e9 * min(ours) / size:10.3f} {against:>15} {plain:17.2f}")


def _time(call, x) -> float:
    call(x)
    runs = max(1, 300_000 // x.size)
    began = time.perf_counter()
    for _ in range(runs):
        call(x)
    return (time.perf_counter() - began) / runs


if __name__ == "__main__":
    main()
