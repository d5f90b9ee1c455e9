"""Fused calls beside what they replace: python benchmarks/fused.py [--old SOURCES] [--rounds N] [CASE ...].

Each candidate has a process of its own and two threads, and waits while the others take their turn. A ratio is taken
within its round, and the median of the rounds is printed: the time of what is replaced, divided by ours. "alone" is
another call of ours, which does less. --old names the sources of another version of this package, for the expressions
over its functions.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROUNDS, THREADS = 9, "2"
WIDE, ROWS = (4096, 11008), (4096, 4096)  # Llama 2's feed-forward layer; a square one
VOCABULARY = (8192, 50257)  # GPT-2's
Calls = dict[str, Callable[[], Any]]


def numbers(*shape: int) -> np.ndarray:
    """Make float32 of the normal distribution."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def torch_of(*arrays: np.ndarray) -> tuple[Any, ...]:
    """Return PyTorch, and its views of arrays."""
    import torch

    torch.set_num_threads(int(THREADS))
    return (torch, *map(torch.from_numpy, arrays))


def packed(candidate: str) -> Calls:
    """X * silu(gate), halves of one array, the gate first."""
    rows, n = WIDE
    a = numbers(rows, 2 * n)
    gate, x = a[:, :n], a[:, n:]
    out = np.empty(WIDE, np.float32)
    if candidate == "torch":
        torch, gate, x, out = torch_of(gate, x, out)
        return {"torch, F.silu(gate) * x": lambda: torch.nn.functional.silu(gate) * x}
    from rectifier import silu, swiglu

    if candidate == "ours":
        return {"ours": lambda: swiglu.packed(a, order="gate_first")}
    return {"swiglu(x, gate)": lambda: swiglu(x, gate), "silu(gate) * x": lambda: np.multiply(silu(gate), x)}


def packed_backward(candidate: str) -> Calls:
    """Gradients of x * silu(gate), packed likewise."""
    rows, n = WIDE
    a, dy = numbers(rows, 2 * n), numbers(*WIDE)
    gate, x = a[:, :n], a[:, n:]
    if candidate == "torch":
        torch, packed, dy = torch_of(a, dy)
        packed.requires_grad_()
        y = torch.nn.functional.silu(packed[:, :n]) * packed[:, n:]

        def backward() -> None:
            packed.grad = None
            y.backward(dy, retain_graph=True)

        return {"torch": backward}
    from rectifier import swiglu

    if candidate == "ours":
        return {"ours": lambda: swiglu.packed.backward(dy, a, order="gate_first")}

    def into_halves() -> np.ndarray:
        da = np.empty_like(a)
        swiglu.backward(dy, x, gate, (da[:, n:], da[:, :n]))
        return da

    def concatenated() -> np.ndarray:
        dx, dgate = swiglu.backward(dy, x, gate)
        return np.concatenate((dgate, dx), axis=-1)

    return {"swiglu.backward into halves": into_halves, "swiglu.backward, concatenated": concatenated}


def interleaved(candidate: str) -> Calls:
    """X * silu(gate), the gate at even places."""
    rows, n = WIDE
    a = numbers(rows, 2 * n)
    if candidate == "torch":
        torch, packed = torch_of(a)
        return {"torch, F.silu(gate) * x": lambda: torch.nn.functional.silu(packed[:, ::2]) * packed[:, 1::2]}
    from rectifier import swiglu

    if candidate == "ours":
        return {"ours": lambda: swiglu.packed(a, order="interleaved")}
    return {"swiglu(x, gate)": lambda: swiglu(a[:, 1::2], a[:, ::2])}


def of_sum(candidate: str) -> Calls:
    """relu(x + bias)."""
    x, b = numbers(*ROWS), numbers(ROWS[1])
    if candidate == "torch":
        torch, x, b = torch_of(x, b)
        return {"torch, relu(x + b)": lambda: torch.relu(x + b)}
    from rectifier import relu

    if candidate == "ours":
        return {"ours": lambda: relu.of_sum(x, b), "alone": lambda: relu(x)}
    return {"relu(x + b)": lambda: relu(x + b)}


def of_sum_backward(candidate: str) -> Calls:
    """Gradients of relu(x + bias), that of the bias summed."""
    x, dy, b = numbers(*ROWS), numbers(*ROWS)[::-1].copy(), numbers(ROWS[1])
    if candidate == "torch":
        torch, x, dy, b = torch_of(x, dy, b)
        x.requires_grad_()
        b.requires_grad_()
        y = torch.relu(x + b)

        def backward() -> None:
            x.grad = b.grad = None
            y.backward(dy, retain_graph=True)

        return {"torch": backward}
    from rectifier import relu

    if candidate == "ours":
        return {"ours": lambda: relu.of_sum.backward(dy, x, b), "alone": lambda: relu.backward(dy, x)}

    def in_passes() -> tuple[np.ndarray, np.ndarray]:
        dx = relu.backward(dy, x + b)
        return dx, dx.sum(axis=0)

    return {"relu.backward and a sum": in_passes}


def softmax_masked(candidate: str) -> Calls:
    """softmax(x * scale + mask) of 64 heads of 512 rows, a mask a head."""
    x = numbers(64, 512, 512)
    where = np.random.default_rng(1).random((512, 512)) < 0.8
    if candidate == "torch":
        torch, x = torch_of(x)
        mask = torch.from_numpy(np.where(where, 0, -np.inf).astype(np.float32))
        return {"torch, softmax(x * s + mask)": lambda: torch.softmax(x * 0.125 + mask, -1)}
    from rectifier import softmax

    if candidate == "ours":
        return {"ours": lambda: softmax(x, where=where, scale=0.125), "alone": lambda: softmax(x)}
    return {"softmax(np.where)": lambda: softmax(np.where(where, x * np.float32(0.125), -np.inf))}


def softmax_causal(candidate: str) -> Calls:
    """softmax(x * scale + mask) below the diagonal."""
    x = numbers(64, 512, 512)
    if candidate == "torch":
        torch, x = torch_of(x)
        mask = torch.from_numpy(np.triu(np.full((512, 512), -np.inf, np.float32), 1))
        return {"torch, softmax(x * s + mask)": lambda: torch.softmax(x * 0.125 + mask, -1)}
    from rectifier import softmax

    if candidate == "ours":
        return {"ours": lambda: softmax(x, causal=True, scale=0.125), "alone": lambda: softmax(x)}
    return {}


def cross_entropy(candidate: str) -> Calls:
    """Losses and the gradient of their sum."""
    x = numbers(*VOCABULARY)
    target = np.random.default_rng(1).integers(0, VOCABULARY[1], VOCABULARY[0])
    if candidate == "torch":
        torch, x, target = torch_of(x, target)
        x.requires_grad_()

        def both() -> None:
            x.grad = None
            torch.nn.functional.cross_entropy(x, target, reduction="sum").backward()

        return {"torch, forward and backward": both}
    if candidate == "old":
        return {}
    from rectifier import softmax_cross_entropy

    return {"ours": lambda: softmax_cross_entropy.value_and_gradient(x, target)}


def float8(candidate: str) -> Calls:
    """Gelu of 100,000 float8 in cache, beside that of float32; nothing is replaced."""
    if candidate != "ours":
        return {}
    import ml_dtypes

    from rectifier import gelu

    x = numbers(100_000)
    narrow = x.astype(ml_dtypes.float8_e4m3fn)
    out, narrow_out = np.empty_like(x), np.empty_like(narrow)
    return {"ours": lambda: gelu(narrow, narrow_out), "alone": lambda: gelu(x, out)}


def quantized(candidate: str) -> Calls:
    """Gelu of 100,000 int8 in cache, beside that of float32."""
    x = numbers(100_000)
    q = np.clip(np.rint(x * 32), -128, 127).astype(np.int8)
    if candidate != "ours":
        return {}
    from rectifier import gelu

    out, narrow_out = np.empty_like(x), np.empty_like(q)

    def narrow() -> np.ndarray:
        return gelu.quantized(q, scale=1 / 32, zero_point=0, out_scale=1 / 32, out_zero_point=0, out=narrow_out)

    return {"ours": narrow, "alone": lambda: gelu(x, out)}


CASES = {
    one.__name__: one
    for one in (
        packed, packed_backward, interleaved, of_sum, of_sum_backward, softmax_masked, softmax_causal, cross_entropy,
        float8, quantized,
    )
}  # fmt: skip


def once(call: Callable[[], Any]) -> float:
    """Time a call, after one that is not timed; a short one many times."""
    call()
    began = time.perf_counter()
    call()
    took = time.perf_counter() - began
    number = int(0.02 / took)
    if number > 1:
        began = time.perf_counter()
        for _ in range(number):
            call()
        took = (time.perf_counter() - began) / number
    return took


def work(candidate: str) -> None:
    """Answer the name of a case with the names of its calls, then each line with their times; an empty line ends it."""
    for line in sys.stdin:
        calls = CASES[line.strip()](candidate)
        print(json.dumps(list(calls)), flush=True)
        for call in calls.values():
            for _ in range(4):
                call()
        for again in sys.stdin:
            if not again.strip():
                break
            print(json.dumps([once(call) for call in calls.values()]), flush=True)
        del calls


def start(candidate: str, sources: str | None) -> subprocess.Popen:
    """Start the process of a candidate."""
    environment = {**os.environ, "RECTIFIER_THREADS": THREADS, "OMP_NUM_THREADS": THREADS}
    if candidate == "old" and sources:
        environment["PYTHONPATH"] = sources
    return subprocess.Popen(
        [sys.executable, __file__, "--work", candidate],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def ask(worker: subprocess.Popen, line: str) -> Any:
    """Send a line to a process, and return what it answers."""
    worker.stdin.write(f"{line}\n")
    worker.stdin.flush()
    return json.loads(worker.stdout.readline())


def measure(case: str, sources: str | None, rounds: int) -> None:
    """Measure a case, and print its row."""
    workers = {candidate: start(candidate, sources) for candidate in ("ours", "old", "torch")}
    try:
        calls = {candidate: ask(worker, case) for candidate, worker in workers.items()}
        times: dict[str, list[float]] = {}
        for _ in range(rounds):
            for candidate, worker in workers.items():
                if calls[candidate]:
                    for name, took in zip(calls[candidate], ask(worker, "again"), strict=True):
                        times.setdefault(name, []).append(took)
                    time.sleep(0.02)  # PyTorch's threads spin for 5 ms after a call
        own = times.pop("ours")
        print(f"{case:16} {1e3 * statistics.median(own):9.3f} ms", end="")
        for name, others in times.items():
            ratio = statistics.median(other / mine for other, mine in zip(others, own, strict=True))
            print(f"   {name}: {ratio:.2f}", end="")
        print(flush=True)
    finally:
        for worker in workers.values():
            worker.kill()
            worker.wait()


def main() -> None:
    """Measure the cases, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--old")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    unknown = [case for case in options.cases if case not in CASES]
    if unknown:
        parser.error(f"no case is called {unknown[0]}: there are {', '.join(CASES)}")
    for case in options.cases or CASES:
        measure(case, options.old, options.rounds)


if __name__ == "__main__":
    main()
