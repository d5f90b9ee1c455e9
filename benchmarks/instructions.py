"""Count the instructions of the inner loops for AVX2 and for NEON, from the assembly that LLVM emits here for both.

    python benchmarks/instructions.py > benchmarks/instructions.txt

No processor of either kind is needed. Of a kernel's loops the leanest counts, by instructions an element, with the two
or three of the loop itself; of leaky_relu's those with a product, since it has others where the slope is 0.

A register of AVX2 has 32 bytes, one of NEON 16: for the same elements NEON needs twice the arithmetic. So there are two
ratios. That of elements compares what a processor has to issue; that of registers, half of it, how good the code is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from rectifier import leaky_relu, relu
from rectifier.engine.compiler import kernels
from rectifier.engine.compiler.target import Target
from rectifier.functions.specification import BACKWARD, BACKWARD_FROM_MASK, VALUE, WITH_MASK

AVX2 = Target("x86_64-unknown-linux-gnu", "haswell", "+avx2,+fma,+f16c,-avx512f,-avx512bf16")
NEON = Target("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon,+lse")
# Each has an address as its last operand on x86-64, as all but the first on AArch64.
STORE = {
    "x86_64": re.compile(r"v?mov\w+\s+%([xyzr])\w*,\s*.*\)$"),
    "aarch64": re.compile(r"st(n?p|r|1)\s+\{? ?([qdv])"),
}
BYTES = {"x": 16, "y": 32, "z": 64, "r": 8, "q": 16, "d": 8, "v": 8}


class Loop(NamedTuple):
    """An innermost loop, and how many bytes it stores in each round."""

    instructions: list[str]
    stored: int


def loops(assembly: str) -> Iterator[Loop]:
    """Find the innermost loops, but those past the caches: from a label to a jump back to it, without another label."""
    body: list[str] = []
    label = ""
    for line in assembly.splitlines():
        if match := re.match(r"(\.?L\w+):", line):
            label, body = match[1], []
        elif re.match(r"\t[a-z]", line):
            body.append(line.strip())
            if re.match(rf"\t(b\.\w+|j\w+|cbn?z)\s.*{re.escape(label)}$", line) and label:
                stored = sum(map(_stored, body))
                if not any(re.match(r"vmovnt|stnp", instruction) for instruction in body):  # past the caches
                    yield Loop(list(body), stored)


def _stored(instruction: str) -> int:
    if match := STORE["x86_64"].match(instruction):
        return BYTES[match[1]]
    if match := STORE["aarch64"].match(instruction):
        return BYTES[match[2]] * (2 if match[1].endswith("p") else 1)
    return 0


def leanest(assembly: str, product: bool = False) -> tuple[int, int]:
    """Give the instructions of a round, and the bytes that it stores."""
    found = [loop for loop in loops(assembly) if loop.stored >= 8]
    found = [loop for loop in found if not product or any("fmul" in i or "vmul" in i for i in loop.instructions)]
    best = min(found, key=lambda loop: len(loop.instructions) / loop.stored)
    return len(best.instructions), best.stored


def main() -> None:
    """Print the table."""
    print(f"{'':50}{'AVX2':>12}{'NEON':>14}{'ratio, an':>14}{'ratio, a':>12}")
    print(f"{'':50}{'an element':>12}{'an element':>14}{'element':>14}{'register':>12}")
    operations = (
        (relu, VALUE), (leaky_relu, VALUE), (relu, BACKWARD), (relu, WITH_MASK), (relu, BACKWARD_FROM_MASK),
        (leaky_relu, BACKWARD_FROM_MASK),
    )  # fmt: skip
    for function, operation in operations:
        for dtype in ("float32", "float64"):
            counts = []
            for target in (AVX2, NEON):
                module = kernels.compile_kernel(function.spec, operation, dtype, target).module
                instructions, stored = leanest(target.machine().emit_assembly(module), function is leaky_relu)
                counts.append(instructions * int(dtype[-2:]) / 8 / stored)
            show(f"{function.spec.name}, {operation.name}, {dtype}", counts)


def show(name: str, counts: list[float]) -> None:
    """Print a row."""
    avx2, neon = counts
    print(f"{name:50}{avx2:12.3f}{neon:14.3f}{neon / avx2:14.2f}{neon / avx2 / 2:12.2f}")


if __name__ == "__main__":
    main()
