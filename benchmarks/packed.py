"""Packed SwiGLU beside what else there is: python benchmarks/packed.py [--old SOURCES] [--alone] [ROWS COLUMNS].

The array has ROWS times twice COLUMNS float32, 4096 times 22016 if nothing is said. Each candidate has a process of its
own, which waits while the others take their turn; after a warm-up each call is timed once a round. Printed are the
median and the least of the rounds, and the medians of a call's time divided by ours of its round. --old names the
sources of another version of this package, whose calls on slices are measured instead of ours. With --alone each has
one thread, and what counts is the time of that thread: on a machine that others use, this alone means something.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROUNDS, SOURCES = 9, str(Path(__file__).parents[1] / "src")


def of_slices(a, dy, y, da, half):
    """Return the calls on slices, which need no packed call."""
    import numpy as np

    from rectifier import silu, swiglu

    gate, x, even, odd = a[:, :half], a[:, half:], a[:, ::2], a[:, 1::2]
    return {
        "value: swiglu(x, gate)": lambda: swiglu(x, gate),
        "value: swiglu(x, gate, out)": lambda: swiglu(x, gate, y),
        "value: silu(gate) * x": lambda: silu(gate) * x,
        "value: np.multiply(silu(gate, y), x, out=y)": lambda: np.multiply(silu(gate, y), x, out=y),
        "backward: np.concatenate(...)": lambda: np.concatenate(swiglu.backward(dy, x, gate)[::-1], axis=1),
        "backward: out= of slices": lambda: swiglu.backward(dy, x, gate, (da[:, half:], da[:, :half])),
        "interleaved value: swiglu(x, gate)": lambda: swiglu(odd, even),
        "interleaved backward: out= of slices": lambda: swiglu.backward(dy, odd, even, (da[:, 1::2], da[:, ::2])),
    }


def packed(a, dy, y, da, half):
    """Return the packed calls."""
    from rectifier import swiglu

    return {
        "value: packed": lambda: swiglu.packed(a, order="gate_first"),
        "value: packed, out=": lambda: swiglu.packed(a, order="gate_first", out=y),
        "backward: packed": lambda: swiglu.packed.backward(dy, a, order="gate_first"),
        "backward: packed, out=": lambda: swiglu.packed.backward(dy, a, order="gate_first", out=da),
        "interleaved value: packed": lambda: swiglu.packed(a, order="interleaved"),
        "interleaved backward: packed, out=": lambda: swiglu.packed.backward(dy, a, order="interleaved", out=da),
    }


def in_torch(a, dy, y, da, half):
    """Return PyTorch's calls; its backward is what follows the value."""
    import torch
    from torch.nn import functional

    torch.set_num_threads(int(os.environ["RECTIFIER_THREADS"]))
    tensor, above, room = map(torch.from_numpy, (a, dy, y))

    def backward():
        leaf = tensor.detach().requires_grad_(True)
        value = functional.silu(leaf[:, :half]) * leaf[:, half:]
        began = clock()
        value.backward(above)
        return clock() - began

    return {
        "value: F.silu(g) * u": lambda: functional.silu(tensor[:, :half]) * tensor[:, half:],
        "value: torch.mul(F.silu(g), u, out=)": lambda: torch.mul(
            functional.silu(tensor[:, :half]), tensor[:, half:], out=room
        ),
        "backward: autograd": backward,
        "interleaved value: F.silu(g) * u": lambda: functional.silu(tensor[:, ::2]) * tensor[:, 1::2],
    }


CANDIDATES = {"slices": of_slices, "packed": packed, "torch": in_torch}


def clock() -> float:
    """Return the time: of this thread, where each has one."""
    return time.thread_time() if os.environ["RECTIFIER_THREADS"] == "1" else time.perf_counter()


def work(candidate: str, rows: int, half: int) -> None:
    """Answer each line that names a call with its seconds."""
    import numpy as np

    generator = np.random.default_rng(0)
    a, dy = (generator.standard_normal((rows, n), dtype=np.float32) for n in (2 * half, half))
    calls = CANDIDATES[candidate](a, dy, np.zeros_like(dy), np.zeros_like(a), half)
    for call in calls.values():
        call()
        call()
    print(json.dumps([*calls]), flush=True)
    for line in sys.stdin:
        began = clock()
        result = calls[line.strip()]()
        took = clock() - began
        print(result if isinstance(result, float) else took, flush=True)
        del result


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="*", type=int, default=[4096, 11008])
    parser.add_argument("--old", default=SOURCES)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--work", choices=CANDIDATES)
    given = parser.parse_args()
    if given.work:
        work(given.work, *given.size)
        return
    threads = "1" if given.alone else str(os.cpu_count())
    processes, names, times = {}, {}, {}
    for candidate in CANDIDATES:
        environment = {**os.environ, "RECTIFIER_THREADS": threads}
        environment["PYTHONPATH"] = given.old if candidate == "slices" else SOURCES
        command = [sys.executable, __file__, "--work", candidate, *map(str, given.size)]
        process = subprocess.Popen(command, stdin=-1, stdout=-1, text=True, env=environment)
        if first := process.stdout.readline():
            processes[candidate], names[candidate] = process, json.loads(first)
    for _ in range(ROUNDS):
        for candidate, process in processes.items():
            for name in names[candidate]:
                print(name, file=process.stdin, flush=True)
                times.setdefault(name, []).append(float(process.stdout.readline()))
    for name, took in times.items():
        ours = [other for other in names["packed"] if other.partition(":")[0] == name.partition(":")[0]]
        ratios = [statistics.median(a / b for a, b in zip(took, times[other], strict=True)) for other in ours]
        beside = "" if name in ours else "   " + ", ".join(f"{ratio:.2f}" for ratio in ratios) + " times ours"
        print(f"{name:45} {1e3 * statistics.median(took):8.1f} ms, least {1e3 * min(took):8.1f}{beside}")
    for process in processes.values():
        process.stdin.close()
        process.wait()


if __name__ == "__main__":
    main()
