"""Time softmax with options, and softmax cross-entropy, beside PyTorch's and beside softmax alone.

All candidates take turns in one process; printed are medians, and medians of the ratios within a turn. On a machine
that does other things, `--cpu` counts the time of the calling thread instead, with one thread for each library.

    python benchmarks/attention.py [--cpu] [--turns 9] [--classes 8192 50257]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from rectifier import settings, softmax, softmax_cross_entropy

RNG = np.random.default_rng(0)


def turns(
    candidates: dict[str, Callable[[], object]], number: int, clock: Callable[[], float]
) -> dict[str, np.ndarray]:
    """Return the seconds of each candidate in each turn, after one that does not count."""
    taken: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(number + 1):
        for name, call in candidates.items():
            begin = clock()
            call()
            if turn:
                taken[name].append(clock() - begin)
    return {name: np.array(seconds) for name, seconds in taken.items()}


def print_table(title: str, taken: dict[str, np.ndarray], beside: str) -> None:
    """Print milliseconds, and ratios to one of the candidates."""
    print(f"\n{title}")
    for name, seconds in taken.items():
        print(
            f"  {name:32s} {1e3 * np.median(seconds):9.2f} ms   {np.median(seconds / taken[beside]):6.2f} of {beside}"
        )


def attention(shape: tuple[int, ...], number: int, clock: Callable[[], float]) -> None:
    """Time softmax and its gradient with options."""
    x, dy = RNG.standard_normal((2, *shape), dtype=np.float32)
    y, dx, where = np.empty_like(x), np.empty_like(x), RNG.random(shape) < 0.8
    scores, mask = torch.from_numpy(x), torch.from_numpy(np.where(where, np.float32(0), np.float32(-np.inf)))
    calls = {
        "softmax": lambda: softmax(x, y),
        "softmax, scale": lambda: softmax(x, y, scale=0.125),
        "softmax, where and scale": lambda: softmax(x, y, where=where, scale=0.125),
        "softmax, causal": lambda: softmax(x, y, causal=True),
        "softmax, sink": lambda: softmax(x, y, sink=1.0),
        "PyTorch, softmax(x * s + mask)": lambda: torch.softmax(scores * 0.125 + mask, -1),
    }
    print_table(f"softmax of {shape}, float32", turns(calls, number, clock), "softmax")
    back = {
        "backward": lambda: softmax.backward(dy, None, dx, y=y),
        "backward, where and scale": lambda: softmax.backward(dy, None, dx, y=y, where=where, scale=0.125),
        "backward, causal": lambda: softmax.backward(dy, None, dx, y=y, causal=True),
    }
    softmax(x, y)
    print_table(f"its gradient of {shape}", turns(back, number, clock), "backward")


def losses(rows: int, classes: int, number: int, clock: Callable[[], float]) -> None:
    """Time cross-entropy with its gradient."""
    x, target = RNG.standard_normal((rows, classes), dtype=np.float32), RNG.integers(0, classes, rows)
    dx, logits, goal = np.empty_like(x), torch.from_numpy(x).requires_grad_(), torch.from_numpy(target)

    def theirs() -> None:
        logits.grad = None
        torch.nn.functional.cross_entropy(logits, goal, reduction="sum").backward()

    calls = {
        "value_and_gradient": lambda: softmax_cross_entropy.value_and_gradient(x, target, out=dx),
        "over x": lambda: softmax_cross_entropy.value_and_gradient(dx, target, out=dx),
        "value": lambda: softmax_cross_entropy(x, target),
        "PyTorch, cross_entropy, backward": theirs,
        "copy of x": lambda: np.copyto(dx, x),
    }
    print_table(f"cross-entropy of {rows} x {classes}, float32", turns(calls, number, clock), "value_and_gradient")


def main() -> None:
    """Time all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cpu", action="store_true")
    parser.add_argument("--turns", type=int, default=9)
    parser.add_argument("--classes", type=int, nargs=2, default=(8192, 50257))
    chosen = parser.parse_args()
    clock = time.thread_time if chosen.cpu else time.perf_counter
    if chosen.cpu:
        settings.threads = 1
        torch.set_num_threads(1)
    for shape in ((4096, 4096), (8, 1024, 1024), (64, 256, 256)):
        attention(shape, chosen.turns, clock)
    losses(*chosen.classes, chosen.turns, clock)


if __name__ == "__main__":
    main()
