"""The rate of ``rectifier apply relu`` against that of ``cp --reflink=never``, on the same file in the page cache.

    python benchmarks/apply.py [GB]

Both run in turns; the ratio is the median of the rounds' own. Start-up counts for both.
"""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

ROUNDS = 5


def seconds(*command):
    """Time a command."""
    began = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return perf_counter() - began


def main(gigabytes: float) -> None:
    """Print the ratio, and the most that was resident."""
    with tempfile.TemporaryDirectory() as directory:
        x, y, z = (Path(directory, name) for name in ("x.npy", "y.npy", "z.npy"))
        random = np.random.default_rng(0)
        array = np.lib.format.open_memmap(x, mode="w+", dtype="f4", shape=(int(gigabytes * 2.5e8),))
        for begin in range(0, len(array), 1 << 24):
            part = array[begin : begin + (1 << 24)]
            random.standard_normal(dtype="f4", out=part)
        del array
        apply = ["rectifier", "apply", "relu", str(x), str(y)]
        ratios = []
        for _ in range(ROUNDS):
            times = []
            for command in (["cp", "--reflink=never", str(x), str(z)], apply):
                y.unlink(missing_ok=True)
                z.unlink(missing_ok=True)
                subprocess.run(["sync"], check=True)
                times.append(seconds(*command))
            ratios.append(times[0] / times[1])
            print(f"cp {times[0]:.2f} s, apply {times[1]:.2f} s: {ratios[-1]:.2f}")
        print(f"{gigabytes} GB: {statistics.median(ratios):.2f} of the rate of cp, the median of {ROUNDS}")
        y.unlink()
        timed = "import resource,subprocess,sys;subprocess.run(sys.argv[1:],check=True,stderr=-3);"
        timed += "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
        run = subprocess.run([sys.executable, "-c", timed, *apply], check=True, capture_output=True, text=True)
        print(f"Most that was resident: {run.stdout.split()[-1]} MiB of 256")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
