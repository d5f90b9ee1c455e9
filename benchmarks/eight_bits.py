"""What look-ups of eight bits take beside gelu of as many float32: in cache, one thread, written over the last result.

    python benchmarks/eight_bits.py > benchmarks/eight_bits.txt

Each level of instructions has a process of its own, in which the calls take turns; a ratio is the median of the rounds'
own, and the times are medians.
"""

import os
import statistics
import subprocess
import sys
from time import perf_counter

import ml_dtypes
import numpy as np

from rectifier import gelu, settings
from rectifier.engine.compiler.target import host

LEVELS = ("native", "x86-64-v4", "x86-64-v3")  # with VBMI where the processor has it, AVX-512 without, AVX2
SIZES = tuple(1 << n for n in (12, 14, 16, 18))
ROUNDS = 21
HOW = {"scale": 0.05, "zero_point": 3, "out_scale": 0.04, "out_zero_point": -100}


def microseconds(call, times):
    """Time some calls in a row."""
    began = perf_counter()
    for _ in range(times):
        call()
    return (perf_counter() - began) / times * 1e6


def lines(level):
    """Yield a line for each size."""
    random = np.random.default_rng(0)
    for n in SIZES:
        x, dy = random.standard_normal((2, n), dtype=np.float32)
        small, d_small = (array.astype(ml_dtypes.float8_e4m3fn) for array in (x, dy))
        q = random.integers(-128, 128, n, dtype=np.int8)
        y, y_small, r = (np.empty_like(array) for array in (x, small, q))
        calls = {
            "gelu": lambda x=x, y=y: gelu(x, y),
            "float8": lambda x=small, y=y_small: gelu(x, y),
            "quantized": lambda q=q, r=r: gelu.quantized(q, out=r, **HOW),
            "gelu.backward": lambda dy=dy, x=x, y=y: gelu.backward(dy, x, y),
            "backward of float8": lambda dy=d_small, x=small, y=y_small: gelu.backward(dy, x, y),
        }
        times = max(3, (1 << 20) // n)
        rounds = [{name: microseconds(call, times) for name, call in calls.items()} for _ in range(ROUNDS)][1:]
        middle = {name: statistics.median(one[name] for one in rounds) for name in calls}

        def ratio(name, other, rounds=rounds):
            return statistics.median(one[other] / one[name] for one in rounds)

        yield (
            f"{level}, {n} elements: gelu {middle['gelu']:.2f} us; float8 {middle['float8']:.2f}, "
            f"{ratio('float8', 'gelu'):.1f} times the speed; quantized {middle['quantized']:.2f}, "
            f"{ratio('quantized', 'gelu'):.1f} times; gelu.backward {middle['gelu.backward']:.2f}; "
            f"of float8 {middle['backward of float8']:.2f}, {ratio('backward of float8', 'gelu.backward'):.2f} times"
        )


def main():
    """Run a process for each level."""
    print(f"{host().processor}; permutes bytes: {host().permutes_bytes}", flush=True)
    for level in LEVELS:
        subprocess.run([sys.executable, __file__, level], env={**os.environ, "RECTIFIER_CPU": level}, check=True)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        settings.threads = 1
        for line in lines(sys.argv[1]):
            print(line, flush=True)
    else:
        main()
