"""Large results beside the rivals and a copy: python benchmarks/large.py [--busy] [--old SOURCES] [MILLIONS ...].

Each candidate has a process of its own, which keeps its arrays and waits while the others take their turn. In a round
each is timed once a point, after a warm-up; a ratio is taken within its round, and the median of the rounds is printed:
a rival's time divided by ours (above 1, ours is faster), and the time of a copy past the caches, by the threads of
our call in its own process right before, divided by ours, for as many bytes as the call reads and writes. With --busy
another process copies 200 MB to and fro meanwhile. --old names the sources of another version of this package.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

RIVALS = ("torch", "tensorflow", "onnxruntime")
OPERATIONS = {
    "value": ("default", "out", "in_place"),
    "derivative": ("default", "out", "in_place"),
    "backward": ("default", "out", "in_place"),
    "backward_from_mask": ("default", "out", "in_place"),
}
ROUNDS, THREADS = 9, str(os.cpu_count())
COPIED = 200_000_000


def work(candidate: str) -> None:
    """Answer each line of a point and a number of elements with the seconds of a call, and of a copy if it is ours."""
    import numpy as np

    from rectifier.tools.bench.baselines import BASELINES as KNOWN
    from rectifier.tools.bench.case import Case, ours

    rivals = {rival.name: rival for rival in KNOWN}
    known: dict[tuple[str, str, int], list] = {}

    def calls(operation: str, form: str, n: int):
        shape = (n // 1000, 1000)
        generator = np.random.default_rng(0)
        x, dy = (generator.standard_normal(shape, dtype=np.float32) for _ in range(2))
        gradient = operation.startswith("backward")
        out = {"default": None, "out": np.zeros_like(x), "in_place": dy if gradient else x}[form]
        case = Case("relu", operation, form, dy, x, out, np.float32(0.01))
        if candidate in ("new", "old"):
            return [(x, np.zeros_like(x)), ours(case)]
        return [None, *rivals[candidate].calls(case)]

    for line in sys.stdin:
        operation, form, n = json.loads(line)
        if (operation, form, n) not in known:
            known.clear()  # one point's arrays at a time
            copied, *made = calls(operation, form, n)
            functions = []
            for call in made:
                text, names = call.statement()
                functions.append(eval(f"lambda: {text}", names))
            known[operation, form, n] = [copied, functions]
            for function in functions:
                for _ in range(
                    2 if candidate in RIVALS else 12
                ):  # what a call of ours learns from its first is learned
                    function()
        copied, functions = known[operation, form, n]
        copying = None
        if copied is not None:
            from rectifier.tools.bench.stream_copy import stream_copy

            stream_copy(copied[1], copied[0])
            began = time.perf_counter()
            stream_copy(copied[1], copied[0])
            copying = time.perf_counter() - began
        best = None
        for function in functions:
            function()
            began = time.perf_counter()
            function()
            took = time.perf_counter() - began
            best = took if best is None else min(best, took)
        print(json.dumps([best, copying]), flush=True)


def start(candidate: str, sources: str | None) -> subprocess.Popen:
    """Start the process of a candidate."""
    environment = {**os.environ, "RECTIFIER_THREADS": THREADS, "OMP_NUM_THREADS": THREADS, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if candidate == "old":
        environment["PYTHONPATH"] = sources
    return subprocess.Popen(
        [sys.executable, __file__, "--work", candidate],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip


def moved(operation: str, form: str) -> float:
    """Say how many bytes an element moves, if what replaces an input is read once."""
    return {"value": 8, "derivative": 8, "backward": 12, "backward_from_mask": 8 + 1 / 8}[operation]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("millions", nargs="*", type=float, default=[9, 25])
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--old")
    parser.add_argument("--ours", action="store_true", help="no rivals")
    parser.add_argument("--only", choices=OPERATIONS, help="this call alone")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.work)
        return
    candidates = ["new", *(["old"] if options.old else []), *(() if options.ours else RIVALS)]
    neighbour = None
    if options.busy:
        code = f"import numpy as np\na, b = np.zeros((2, {COPIED} // 8))\nwhile True:\n    a[:] = b\n    b[:] = a"
        neighbour = subprocess.Popen([sys.executable, "-c", code])
    workers = {candidate: start(candidate, options.old) for candidate in candidates}
    try:
        print("| million | call | ms | of a copy |", *[f"{name} |" for name in candidates[1:]])
        print("|---" * (3 + len(candidates)) + "|")
        for millions in options.millions:
            n = int(millions * 1e6) // 1000 * 1000
            for operation in [options.only] if options.only else OPERATIONS:
                for form in OPERATIONS[operation]:
                    rounds: dict[str, list[float]] = {candidate: [] for candidate in candidates}
                    copies = []
                    for round_ in range(options.rounds):
                        for k in range(len(candidates)):
                            candidate = candidates[(k + round_) % len(candidates)]
                            worker = workers[candidate]
                            worker.stdin.write(json.dumps([operation, form, n]) + "\n")
                            worker.stdin.flush()
                            seconds, copying = json.loads(worker.stdout.readline())
                            rounds[candidate].append(seconds)
                            if candidate == "new":
                                copies.append(copying * moved(operation, form) / 8 / seconds)
                    cells = []
                    for candidate in candidates[1:]:
                        pairs = zip(rounds[candidate], rounds["new"], strict=True)
                        ratios = [theirs / own for theirs, own in pairs if theirs is not None]
                        cells.append(f"{statistics.median(ratios):.2f} |" if ratios else "- |")
                    own, copy = 1e3 * statistics.median(rounds["new"]), statistics.median(copies)
                    print(f"| {millions:g} | {operation} {form} | {own:.2f} | {copy:.2f} |", *cells, flush=True)
    finally:
        for process in [*workers.values(), *([neighbour] if neighbour else [])]:
            process.kill()


if __name__ == "__main__":
    main()
