"""The rate of ``rectifier apply relu`` on HDF5 with Zstandard against that of ``h5repack``, which compresses it again.

    python benchmarks/apply_hdf5.py [GB]

Both read, decompress, compress and write with the same plugin and level, in turns; the ratio is the median of the
rounds' own. Start-up counts for both. Of signed numbers half are 0 in the result, which compress faster; so there is a
file of numbers from 0 on too, of which both write the same.
"""

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import h5py
import hdf5plugin
import numpy as np

import rectifier
from rectifier.tools.machine import describe

ROUNDS, COLUMNS, LEVEL = 3, 4096, 3
CHUNK = (64, COLUMNS)  # 1 MiB


def make(path, gigabytes, positive):
    """Write smooth fields with the noise of a sensor of 14 bits, as instruments do."""
    random = np.random.default_rng(0)
    columns = np.arange(COLUMNS) / 300
    with h5py.File(path, "w") as file:
        shape = (int(gigabytes * 1e9 / 4 / COLUMNS) // CHUNK[0] * CHUNK[0], COLUMNS)
        x = file.create_dataset("x", shape, "f4", chunks=CHUNK, **hdf5plugin.Zstd(clevel=LEVEL))
        for begin in range(0, shape[0], CHUNK[0]):
            rows = np.arange(begin, begin + CHUNK[0])[:, None] / 700
            field = 3 * np.sin(rows) * np.cos(columns + rows) + 0.05 * random.standard_normal(CHUNK, "f4")
            field = np.round(1024 * field) / 1024
            x[begin : begin + CHUNK[0]] = np.abs(field) if positive else field


def seconds(*command):
    """Time a command."""
    settings = {**os.environ, "HDF5_PLUGIN_PATH": hdf5plugin.PLUGIN_PATH}
    began = perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=settings)
    return perf_counter() - began


def main(gigabytes: float) -> None:
    """Print the ratios."""
    repack = subprocess.run(["h5repack", "--version"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"{describe().processor}; Python {sys.version.split()[0]}, NumPy {np.__version__}, h5py {h5py.__version__}")
    print(f"HDF5 {h5py.version.hdf5_version}, hdf5plugin {hdf5plugin.version}, rectifier {rectifier.__version__}")
    print(repack)
    for what, positive in (("signed numbers", False), ("numbers from 0 on", True)):
        with tempfile.TemporaryDirectory() as directory:
            x, y, z = (Path(directory, name) for name in ("x.h5", "y.h5", "z.h5"))
            make(x, gigabytes, positive)
            ratios = []
            for _ in range(ROUNDS):
                times = []
                again = f"UD={hdf5plugin.Zstd.filter_id},0,1,{LEVEL}"  # else it copies the chunks as they are
                for command in (
                    ["h5repack", "-f", again, str(x), str(z)],
                    ["rectifier", "apply", "relu", str(x), str(y)],
                ):
                    y.unlink(missing_ok=True)
                    z.unlink(missing_ok=True)
                    subprocess.run(["sync"], check=True)
                    times.append(seconds(*command))
                ratios.append(times[0] / times[1])
                print(f"h5repack {times[0]:.2f} s, apply {times[1]:.2f} s: {ratios[-1]:.2f}", flush=True)
            with h5py.File(x) as old, h5py.File(y) as new:
                assert np.array_equal(new["x"][-64:], np.maximum(old["x"][-64:], 0))
            sizes = f"{x.stat().st_size / 1e6:.0f} MB to {y.stat().st_size / 1e6:.0f}"
            median = statistics.median(ratios)
            print(f"{gigabytes} GB of {what}, {sizes}: {median:.2f} of the rate of h5repack, the median of {ROUNDS}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0)
