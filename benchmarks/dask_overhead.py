"""What Dask adds: relu of a Dask array against our own call in memory, and a block of ours against one of maximum.

    python benchmarks/dask_overhead.py [GB]

Both run in one process, in turns; the ratios are medians of the rounds' own.
"""

import statistics
import sys
from functools import partial
from time import perf_counter

import dask.array as da
import numpy as np

from rectifier import relu

ROUNDS = 7


def seconds(call):
    """Time one call, and let its result go."""
    began = perf_counter()
    call()
    return perf_counter() - began


def ratio(one, other, rounds=ROUNDS):
    """Give the median over rounds of what one takes of the other."""
    one(), other()
    return statistics.median(seconds(one) / seconds(other) for _ in range(rounds))


def main(gigabytes: float) -> None:
    """Print the ratios."""
    x = np.random.default_rng(0).standard_normal(int(gigabytes * 2.5e8), np.float32)
    chunks = da.from_array(x, chunks=1 << 24, name=False)  # of 64 MiB
    fresh = ratio(lambda: relu(x), lambda: relu(chunks).persist(scheduler="threads"))
    print(f"{gigabytes} GB in chunks of 64 MiB, kept as chunks: {fresh:.2f} of the rate of relu(x)")
    whole = ratio(lambda: relu(x), lambda: relu(chunks).compute(scheduler="threads"))
    print(f"{gigabytes} GB in chunks of 64 MiB, joined by Dask: {whole:.2f} of the rate of relu(x)")
    for blocks in (1_000, 10_000):
        small = da.ones(blocks * 10, chunks=10, dtype="f4").persist()
        made = ratio(partial(relu, small), partial(da.maximum, small, 0))
        print(f"{blocks} blocks of 10, the graph: {made:.2f} of the time of dask.array.maximum")
        computed = ratio(relu(small).persist, da.maximum(small, 0).persist)
        print(f"{blocks} blocks of 10, computed: {computed:.2f} of the time of dask.array.maximum")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
