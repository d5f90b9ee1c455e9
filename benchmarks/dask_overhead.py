"""What Dask adds: relu of a Dask array against our own call in memory, and a block of ours against one of maximum.

    python benchmarks/dask_overhead.py [GB]

Both run in one process, in turns; the ratios are medians of the rounds' own.
"""

import statistics
import sys
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
    """Print both ratios."""
    x = np.random.default_rng(0).standard_normal(int(gigabytes * 2.5e8), np.float32)
    chunks = da.from_array(x, chunks=1 << 24, name=False)  # of 64 MiB
    out = np.empty_like(x)

    def through_dask():
        da.store(relu(chunks), out, lock=False, scheduler="threads")

    whole = ratio(lambda: relu(x, out), through_dask)
    print(f"{gigabytes} GB in chunks of 64 MiB into an array: {whole:.2f} of the rate of relu(x, out)")
    del out
    fresh = ratio(lambda: relu(x), lambda: [None for _ in [relu(chunks).persist(scheduler="threads")]])
    print(f"{gigabytes} GB, fresh chunks against a fresh array: {fresh:.2f} of the rate of relu(x)")
    for blocks in (1_000, 10_000):
        small = da.ones(blocks * 10, chunks=10, dtype="f4").persist()
        for name, ours, theirs in (
            ("made", lambda: relu(small), lambda: da.maximum(small, 0)),
            ("made and computed", lambda: relu(small).persist(), lambda: da.maximum(small, 0).persist()),
        ):
            print(f"{blocks} blocks of 10, {name}: {ratio(ours, theirs):.2f} of dask.array.maximum")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
