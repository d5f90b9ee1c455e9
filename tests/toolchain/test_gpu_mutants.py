"""Deliberate mistakes in the text that a GPU would be given, each of which the tiers without a GPU must catch."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import require_gpu_tier

pytestmark = pytest.mark.usefixtures("tiers")

# What tests are run against a mutant: of a file, a choice by -k.
EXACT = ("kernels", "bit_for_bit and float32 and (leaky_relu or relu6) and not gated and host")
HALVES = ("kernels", "bit_for_bit and (bfloat16 or float16) and (leaky_relu or silu) and host")
LENGTHS = ("kernels", "alignment and (float32 or int8) and host")
MASKS = ("kernels", "masks_are and (float16 or float32) and relu and not relu6 and not leaky_relu and host")
PACKED = ("kernels", "halves_of_an_array and host")
ROWS = ("rows", "(rows or same_bits) and not float16 and not softmin and not sanitizers and host")
PTX = ("source", "compiles_as_cupy_compiles_it and (leaky_relu or silu or softmax)")

# what stands there, what the mutant says, the tests that must catch it
MUTANTS = {
    "a comparison leaves out equality": ('float, "f", "setp.le.f32"', 'float, "f", "setp.lt.f32"', EXACT),
    "a comparison is swapped": ('float, "f", "setp.ge.f32"', 'float, "f", "setp.le.f32"', EXACT),
    "a comparison flushes subnormals": ("setp.le.f32", "setp.le.ftz.f32", EXACT),
    "a product flushes subnormals": ("mul.rn.f32", "mul.rn.ftz.f32", EXACT),
    "a product is CUDA's own": (
        'INSTRUCTION_2(mul, float, "=f", float, "f", "mul.rn.f32")',
        "__device__ __forceinline__ float mul(const float x, const float y) { return x * y; }",
        PTX,
    ),
    "a product is rounded down": ("mul.rn.f32", "mul.rm.f32", EXACT),
    "a product is of float64": ("mul(p_negative_slope, x)", "narrow(mul(widen(p_negative_slope), widen(x)))", PTX),
    "a result is cast by CUDA": (
        'INSTRUCTION_1(narrow, float, "=f", double, "d", "cvt.rn.f32.f64")',
        "__device__ __forceinline__ float narrow(const double x) { return (float)x; }",
        PTX,
    ),
    "float64 is compared by CUDA": (
        'CONDITION(lt, double, "d", "setp.lt.f64")',
        "__device__ __forceinline__ bool lt(const double x, const double y) { return x < y; }",
        PTX,
    ),
    "a derivative loses NaN": ("const bool t1 = eq(x, x);", "const bool t1 = eq(x, x) || x != x;", EXACT),
    "backward multiplies by 0": ("? 0.0f : t7;", "&& t7 == 0.0f ? 0.0f : t7;", EXACT),
    "bfloat16 rounds half up": ("0x7fffu + (bits >> 16 & 1u)", "0x8000u", HALVES),
    "bfloat16 makes -0.0 of NaN": ("(bits & 0x7fffffffu) > 0x7f800000u", "(bits & 0x7fffffffu) == 0u", HALVES),
    "float16 is rounded twice": ("round_to_float16(round_to_odd(x))", "round_to_float16(narrow(x))", HALVES),
    "an exponent is off by one place": (", 52)", ", 51)", HALVES),
    "the rest is left out": ("left < n - vectors * length", "left < before", LENGTHS),
    "what comes before the first vector is left out": ("left = thread; left < n", "left = thread + before; left < n", LENGTHS),
    "the rest begins an element late": ("left + vectors * length;", "left + vectors * length + 1;", LENGTHS),
    "the grid strides too far": ("v += threads)", "v += threads + 1)", LENGTHS),
    "a vector is loaded at its number": ("load(x + i)", "load(x + v)", LENGTHS),
    "arrays that lie otherwise are loaded as vectors": ("    if (place(p) == 0) {\n        const uint4", "    if (1) {\n        const uint4", LENGTHS),
    "vectors begin where 8 bytes do": ("(16 - place(p)) % 16", "(8 - place(p) % 8) % 8", LENGTHS),
    "a vector too many": ("vectors = (n - before) / length", "vectors = (n - before) / length + 1", LENGTHS),
    "every row is the first": ("row * x_step + column", "column", PACKED),
    "a row goes on into the next": ("v - row * of_row", "v", PACKED),
    "a word of a mask overwrites another": ("mask[w + k] = word", "mask[w] = word", MASKS),
    "lanes are counted to 16": ("lane = threadIdx.x % 32", "lane = threadIdx.x % 16", MASKS),
    "bits after the last element are set": ("on && i < n)", "on)", MASKS),
    "a warp parts before it votes": ("w < words; w +=", "w < words - lane % 2; w +=", MASKS),
    "a word beyond a mask is written": ("lane == 0 && w + k < words", "lane == 0", MASKS),
    "bits are read from their byte's first": ("return bits >> (i & 7)", "return bits", MASKS),
    "bits of the next byte are left out": ("last = (i + count - 1) >> 3", "last = i >> 3", MASKS),
    "a row's pieces overlap": ("(v * THREADS + int(threadIdx.x % THREADS)) * length;", "(v * THREADS / 2 + int(threadIdx.x % THREADS)) * length;", ROWS),
    "a vector beyond a row": ("if (aligned && j + length <= end)\n", "if (aligned && j < end)\n", ROWS),
    "vectors are stored where none can lie": ("if (aligned && j + length <= end)\n", "if (j + length <= end)\n", ROWS),
    "behind a row are zeros": ("-__int_as_float(0x7f800000)", "0.0f", ROWS),
    "a block takes another tile back": ("= kept[(begin + place_of(v)) / length]", "= kept[place_of(v) / length]", ROWS),
    "two rows are laid in one place": ("return kept + (end + length - 1) / length;", "return kept + (end - 1) / length;", ROWS),
    "large numbers are taken as they are": ("!le(abs(peak), 0x1p20f)", "!le(abs(peak), 0x1p127f)", ROWS),
    "what an ordered sum loses is lost": ("return {sum, sub(y, sub(sum, x))};", "return {sum, 0};", ROWS),
    "what shares lose is lost": ("add(add(of_tile.tail, next.tail), e[k].tail)", "add(of_tile.tail, e[k].tail)", ROWS),
    "sums of lanes are rounded": ("far = 0x1.8p73f", "far = 0x1.8p56f", ROWS),
    "a reciprocal is only near": ("return fma(r, fma(neg(y), r, 1.0f), r);", "return r;", ROWS),
    "the power of two of a row is off": (", 1262485313)", ", 1262485312)", ROWS),
    "a row is stored by its neighbour's places": ("row[j + k] = at[v * length + k];", "row[j] = at[v * length + k];", ROWS),
    "what a sum loses is lost": ("add(add(x.tail, y.tail), add(", "add(add(x.tail, 0), add(", ROWS),
    "what is recomputed is not": ("            if (KEPT != IN_REGISTERS)\n                e[k]", "            if (0)\n                e[k]", ROWS),
    "half a warp is added up": ("distance = LANES / 2;", "distance = LANES / 4;", ROWS),
    "warps do not wait for each other": ("        __syncthreads();\n        x = over_lanes", "        x = over_lanes", ROWS),
    "the peak is the least": ("{ return larger_or_nan(x, y); }", "{ return neg(larger_or_nan(neg(x), neg(y))); }", ROWS),
    "the sum of a row is 1 too much": ("Pair<N>{-1, 0}", "Pair<N>{0, 0}", ROWS),
    "a peak is counted in every thread": ("peaks += at_peak;", "peaks = 1;", ROWS),
}  # fmt: skip
ALWAYS = (
    "a product flushes subnormals",
    "the rest is left out",
    "bits after the last element are set",
)


@pytest.fixture(scope="module")
def tiers():
    for what in ("cupy", "g++"):
        require_gpu_tier(what)


def run_tests(file: str, chosen: str, *mutation: str) -> subprocess.CompletedProcess[str]:
    from cuda_host import MUTANT

    tests = Path(__file__).parent
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        chosen,
        f"test_gpu_{file}.py",
    ]
    environment = os.environ | {MUTANT: json.dumps(mutation)}
    return subprocess.run(command, cwd=tests, env=environment, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.parametrize("tests", {case[2] for case in MUTANTS.values()}, ids=str)
def test_a_text_without_mutation_passes(tests):
    run = run_tests(*tests, "what stands nowhere", "")
    assert run.returncode == 0, run.stdout[-2000:]


@pytest.mark.parametrize(
    "name", [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.slow) for name in MUTANTS]
)
def test_mutant_is_caught(name):
    old, new, tests = MUTANTS[name]
    run = run_tests(*tests, old, new)
    caught = re.findall(r"^(?:FAILED|ERROR) test_gpu\w+\.py::(\S+)", run.stdout, re.MULTILINE)
    crashed = run.returncode < 0 or "Fatal Python error" in run.stderr
    assert crashed or (run.returncode == 1 and caught), run.stdout[-3000:]
    print(f"{name}: caught by {caught or 'a crash'}")


def test_what_each_mutant_changes_is_there():
    from rectifier.backends.cupy import source
    from rectifier.catalogue import ALL

    texts = [
        ALL[name].cuda_source(dtype, operation)
        for name in ("relu", "relu6", "leaky_relu", "silu", "swiglu", "softmax")
        for dtype in ("float16", "float32")
        for operation in ("value", "backward", "with_mask", "backward_from_mask")
        if operation in ALL[name].spec.operations
    ]
    spec = ALL["swiglu"].spec
    texts.append(source.program(*source.contiguous(spec, spec.operations["value"], "float32", (True,), True)))
    for name, (old, new, _) in MUTANTS.items():
        assert any(old in text for text in texts), f"{name}: no text says {old!r}"
        assert old != new
    assert len(MUTANTS) >= 30
