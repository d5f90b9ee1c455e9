"""Deliberate mistakes in the code, each of which the other tests must catch."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FAST = [f"contract/test_{topic}.py" for topic in ("contract", "masks", "arguments", "layouts", "dtypes")]
FAST += ["accuracy/test_exhaustive.py", "backends/test_protocols.py", "engine/test_engines.py"]
STREAMING, THREADS, OVERLAP = ["engine/test_streaming.py"], ["engine/test_threads.py"], ["engine/test_overlap.py"]

# file, what stands there, what the mutant says; the test files that must catch it, if not those above
FORMULA, OPERATION, KERNEL = "catalogue/piecewise.py", "functions/specification.py", "engine/compiler/kernels.py"
DRIVER, ENTRY, CALLS, WAYS = (
    "engine/runtime/driver.py",
    "engine/runtime/entry.py",
    "backends/numpy.py",
    "engine/runtime/streaming.py",
)
COPYING = "engine/runtime/copying.py"
ROWS, ROW_TESTS = "engine/runtime/rows.py", ["engine/test_rows.py"]
ROUNDING, STORAGE = "engine/compiler/rounding.py", "engine/compiler/storage.py"
STRIPS, TRACE = "engine/compiler/strips.py", "formulas/llvm.py"
OPTIONS, LOSSES = "engine/compiler/rowoptions.py", "engine/compiler/crossentropy.py"
TABLE, INTERPRETER = "functions/dtypes.py", "engine/interpreter.py"
VECTORS, TRACING, PARTS = "engine/compiler/vectors.py", "formulas/tracing.py", "formulas/smooth/parts.py"
SINGLE, PRIMITIVES, DEFAULTS = (
    "formulas/smooth/single.py",
    ["accuracy/test_primitives.py"],
    ["accuracy/test_exhaustive.py"],
)
MUTANTS = {
    "relu loses +0.0 at -0.0": (FORMULA, "return where(x <= T(0), T(0), x)", "return where(x < T(0), T(0), x)"),
    "relu loses NaN": (FORMULA, "return where(x <= T(0), T(0), x)", "return where(x > T(0), x, T(0))"),
    "derivative is 1 at the kink": (
        FORMULA, "return where(x <= T(0), T(0), where(x == x", "return where(x < T(0), T(0), where(x == x",
    ),
    "derivative loses NaN": (FORMULA, "T(0), where(x == x, T(1), x))", "T(0), T(1))"),
    "slope 0 makes NaN": (FORMULA, "where(negative_slope == T(0), T(0), negative_slope * x)", "negative_slope * x"),
    "negative slopes are taken for positive": (FORMULA, "negative_slope >= T(0)", "negative_slope == negative_slope"),
    "mask values are swapped": (FORMULA, "(x <= T(0), negative_slope, T(1))", "(x <= T(0), T(1), negative_slope)"),
    "backward multiplies": (OPERATION, "d = derivative(x, *parameters)\n    return where(d == T(0), T(0), dy * d)",
                            "d = derivative(x, *parameters)\n    return dy * d"),
    "backward from a mask multiplies": (
        OPERATION, "d = where(bit, high, low)\n    return where(d == T(0), T(0), dy * d)",
        "d = where(bit, high, low)\n    return dy * d",
    ),
    "NaN is off in a mask": ("functions/define.py", "x, *parameters: (x <= T(0), T(0), T(1))", "x, *parameters: (where(x > T(0), T(0), T(1)) > T(0), T(0), T(1))"),
    "what is left over is left out": (STRIPS, 'builder.icmp_unsigned("!=", self.whole, n)', 'builder.icmp_unsigned("==", self.whole, n)'),
    "what is left over is the last strip but one": (STRIPS, "builder.sub(n, _I64(lanes)))", "builder.sub(self.whole, _I64(lanes)))"),
    "a short array is not copied": (STRIPS, "copy_bytes(b, space.pointer, array.at(b, start, self.lanes), self._bytes(array, count))", "pass"),
    "a strip begins an element later": (STRIPS, "builder.gep(self.pointer, [place])", "builder.gep(self.pointer, [builder.or_(place, _I64(1))])"),
    "operands are swapped": (TRACE, "[node.value for node in operands]", "[node.value for node in operands[::-1]]"),
    "NaN differs from nothing": (TRACE, 'builder.fcmp_unordered if name == "ne"', 'builder.fcmp_ordered if name == "ne"'),
    "a selection takes the other": (TRACE, "select(condition.value, *numbers)", "select(condition.value, *numbers[::-1])"),
    "integers are compared without signs": (TRACE, 'if of == "uint64" else', 'if of != "uint64" else'),
    "a float64 is rounded twice": (STORAGE, 'number if self.name == "float32" else to_odd(builder, number)', "number"),
    "a row is summed of its half": ("engine/compiler/vectors.py", "for k in (0, lanes)", "for k in (0, 0)", ["contract/test_rowwise.py"]),
    "the last numbers of a row count twice": ("engine/compiler/sums.py", "b.select(before, zero(stored), stored)", "stored", ["contract/test_rowwise.py"]),
    "what does not count is summed": (OPTIONS, "    return where(flag, exponential_of(x, scale, peak, tail), T(0))\n\n\ndef _exponential_of_each", "    return exponential_of(x, scale, peak, tail)\n\n\ndef _exponential_of_each", ["contract/test_row_options.py"]),
    "a causal row ends one later": (OPTIONS, "row % options.rows + 1 + length", "row % options.rows + 2 + length", ["contract/test_row_options.py"]),
    "a sink is left out of the sum": (OPTIONS, "rest = plus(total(sums, total(ones, MINUS_ONE)), sink)", "rest = total(sums, total(ones, MINUS_ONE))", ["contract/test_row_options.py"]),
    "a gradient is without its scale": (OPTIONS, "return where(flag, scale * backward(dy, y, s), T(0))", "return where(flag, backward(dy, y, s), T(0))", ["contract/test_row_options.py"]),
    "a probability of 0 counts": (LOSSES, "where(target == T(0), T(0), target * (peak - x))", "target * (peak - x)", ["contract/test_cross_entropy.py"]),
    "a gradient near 0 is a difference": (LOSSES, "g * (((e - T(1)) - rest) / (T(1) + rest))", "g * (e / (T(1) + rest) - T(1))", ["contract/test_cross_entropy.py"]),
    "all rows have one gradient above": (LOSSES, "g = load(options.upstream, row)", "g = load(options.upstream, 0)", ["contract/test_cross_entropy.py"]),
    "bfloat16 rounds half up": (ROUNDING, "builder.add(odd, constant(kind, 0x7FFF))", "constant(kind, 0x8000)"),
    "bfloat16 truncates": (ROUNDING, "builder.lshr(rounded, constant", "builder.lshr(bits, constant"),
    "every parameter is one number": (KERNEL, "with arrays_of_them:\n                strips([])", "with arrays_of_them:\n                strips(range(first, last))"),
    "an operand is taken for the one before": (KERNEL, "b.gep(operands, [_I64(k)])", "b.gep(operands, [_I64(max(k - 1, 0))])"),
    "fast arithmetic": (TRACE, "getattr(builder, _FLOATS[name])(*values)", 'getattr(builder, _FLOATS[name])(*values, **({"flags": ("nnan", "ninf", "nsz", "contract")} if len(values) > 1 else {}))'),
    "bits after the last are left": (STRIPS, "b.store(b.and_(b.load(bits), b.sub(b.shl(kind(1), number), kind(1))), bits)", "pass"),
    "mask bytes overlap": (DRIVER, "pieces[k] = at + (i >> 3)", "pieces[k] = at + (i >> 4)"),
    "mask bytes are read from the start": (DRIVER, "pieces[k] = at + (i >> 3)", "pieces[k] = at"),
    "a mask's last bytes are not copied": (STRIPS, "b.lshr(b.add(count, _I64(7)), _I64(3))", "b.lshr(count, _I64(3))"),
    "a tile is no whole number of mask words": ("engine/loops.py", "layout.TILE // max(sizes) // 64 * 64", "layout.TILE // max(sizes) - 3"),
    "mask bits are in memory order": (DRIVER, "if mask < 0:  # the bits", "if mask < 9:  # the bits"),
    "strides are ignored": (ENTRY, "lies = steps[k] == plan.size[k]", "lies = steps[k] != 0"),
    "inputs of integers are taken for parameters": (WAYS, "if first <= k < last:", "if plan.float_kind <= k < last:", STREAMING),
    "a tile is not written back": (DRIVER, "_transfer(job, k, i, n, tile, 1)", "_transfer(job, k, i, n, tile, 0)"),
    "a row begins where the last ended": (DRIVER, "row[k] - back + job", "row[k] + job"),
    "axes are joined that are not one": (DRIVER, "join &= k == mask or", "join |= k == mask or"),
    "negative strides are walked from the wrong end": (DRIVER, "(job.extents[d] - 1) * stride", "job.extents[d] * stride"),
    "an output may overlap an input": (ENTRY, "if same or at_k + high_k", "if 1 or at_k + high_k"),
    "an output may lie between the rows of an input that reach it": (ENTRY, "place + span_k <= period", "span_k <= period", OVERLAP),
    "rows that end where an output begins are behind it": (ENTRY, "place >= span_o and", "place + 1 >= span_o and", OVERLAP),
    "a row is as long as its numbers are wide": (ENTRY, "span_k += abs(a)", "span_k += 0", OVERLAP),
    "rows that are walked backwards begin where they end": (ENTRY, "low += min(a, 0)", "low += 0", OVERLAP),
    "a pair is taken apart the wrong way round": (COPYING, "tile + (TILE if apart < 0 else 0), tile + (0 if", "tile + (TILE if apart > 0 else 0), tile + (0 if", OVERLAP),
    "the last pairs are left": (COPYING, "size, 2 * size, n - i, size)\n\n\ndef _join", "size, 2 * size, n - i - 1, size)\n\n\ndef _join", OVERLAP),
    "pairs begin at the first of the two": (COPYING, "_split_run(even, odd, at + min(apart, 0), n, size)", "_split_run(even, odd, at, n, size)", OVERLAP),
    "what lies near is a pair": (DRIVER, "abs(job.pointers[k + 1] - job.pointers[k]) == size", "1", OVERLAP),
    "an output that follows an input is shared among threads": (ENTRY, "apart &= _lies_apart", "apart |= _lies_apart", THREADS),
    "a slope of -0.0 stays": (ENTRY, "0 if source.number << 1 == 0 else", "0 if source.number == 1 else"),
    "a slope is rounded twice": (ROUNDING, "builder.select(builder.and_(inexact, even), builder.add(bits, step), bits)", "bits"),
    "the floating-point state is the caller's": ("engine/compiler/instructions.py", "ir.Constant(_I32, 0x1F80)", "ir.Constant(_I32, 0x9FC0)"),
    "the caller's state is not restored": (ENTRY, "    leave_default_floating_point(saved)\n    return answer", "    return answer"),
    "float16 is computed in float16": (TABLE, '"float16", 16, 5, np.float32', '"float16", 16, 5, np.float16'),
    "bfloat16 is computed in float64": (TABLE, '"bfloat16", 16, 8, np.float32', '"bfloat16", 16, 8, np.float64'),
    "int16 is computed in int8": (TABLE, '"int16", 16, 0, np.int16', '"int16", 16, 0, np.int8'),
    "float64 is computed in float32": (TABLE, '"float64", 64, 11, np.float64', '"float64", 64, 11, np.float32'),
    "bool is let in": (TABLE, "return dtype.name in WORKING", "return dtype.name in (*WORKING, 'bool')"),
    "a mask is made after its parameters are overwritten": (
        "backends/registry.py", "mask._parameters = kept", "mask._parameters = snapshot(call.parameters)",
    ),
    "overlap is ignored": (CALLS, "source = source.copy()", "pass"),
    "the NumPy reading packs big-endian": (INTERPRETER, 'np.packbits(result, bitorder="little")', 'np.packbits(result, bitorder="big")'),
    "the NumPy reading drops a chunk": (INTERPRETER, "range(0, n, step)", "range(0, n, step + 1)"),
    "results do not feed the next": (ENTRY, "if n > 1 and arrays[0]", "if n < 0 and arrays[0]"),
    "nor in the NumPy reading": (INTERPRETER, "step = 1 if n > 1 and arrays[0] + steps[0] == arrays[last] else CHUNK", "step = CHUNK"),
    "the NumPy reading leaves flags": (INTERPRETER, "np.add(1.0, 1.0)", "pass", ["contract/test_edges.py"]),
    "the first line begins elsewhere": (DRIVER, "divide(-run[last] &", "divide(run[last] &", STREAMING),
    "beside a mask the first line begins elsewhere": (DRIVER, "divide(-(job.pointers[last] + start * size)", "divide((job.pointers[last] + start * size)", STREAMING),
    "a row ends before its last numbers": (DRIVER, "if n > edge + whole:", "if n > edge + whole + 1:", STREAMING),
    "past the caches, all of a row is its beginning": (DRIVER, "_skip(job, run, edge, pieces)", "_skip(job, run, 0, pieces)", STREAMING),
    "past the caches, rows of parameters are one number each": (DRIVER, "(first <= k < last and uniform)", "(first <= k < last)", STREAMING),
    "no line of a row goes past the caches": (DRIVER, "uniform + PAST + job.held + (plan", "uniform + job.held + (plan", STREAMING),
    "short rows go past the caches": (WAYS, "plan.size[last] < LEAST_ROW", "plan.size[last] < 0", STREAMING),
    "the first line begins an element later": (DRIVER, "& (LINE - 1), size)\n    i, n", "& (LINE - 1), size) + 1\n    i, n", STREAMING),
    "pieces are no whole lines": (DRIVER, "return divide(n, line) * line if n >= line else n", "return n", STREAMING),
    "the rest goes past the caches": (DRIVER, "past if edge <= 0 and n >= line else 0", "past if edge <= 0 else 0", STREAMING),
    "nothing goes past the caches": (DRIVER, "past if edge <= 0 and n >= line else 0", "0", STREAMING),
    "nor is it asked for": (DRIVER, "elif job.stream:", "elif 0:", STREAMING),
    "rows never go past the caches": (DRIVER, "if job.stream == 0:", "if 1:", STREAMING),
    "past the caches, parameters are arrays": (DRIVER, "uniform + (past if", "0 + (past if", STREAMING),
    "past the caches, every operand is an array": (DRIVER, "width = 0 if plan.first <= k < last and uniform else plan.size[k]", "width = plan.size[k]", STREAMING),
    "past the caches, each piece is the first": (DRIVER, "job.pointers[k] + i * width", "job.pointers[k] + start * width", STREAMING),
    "bits are shifted behind": (DRIVER, "_shift_from(job, i + n, following, ahead)", "_shift_from(job, i, following, ahead)", STREAMING),
    "too few bits are shifted ahead": (DRIVER, "_shift_from(job, i + n, following, ahead)", "_shift_from(job, i + n, following >> 1, ahead)", STREAMING),
    "the first bits are not shifted": (DRIVER, "    _shift_from(job, i, n, bits)\n", "", STREAMING),
    "bits are shifted into those in use": (DRIVER, "        bits, ahead = ahead, bits\n", "        ahead = bits\n", STREAMING),
    "bits begin with their byte": (DRIVER, "stack(TILE // 64 + 1), i & 7", "stack(TILE // 64 + 1), 0", STREAMING),
    "bits before a piece in its byte are not counted": (DRIVER, "((i + n + 7) >> 3) - (i >> 3)", "(n + 7) >> 3", STREAMING),
    "the bits of a piece are more than their room": (DRIVER, "n = min(left, TILE - 64)", "n = min(left, 8 * TILE)", STREAMING),
    "a result of just the limit goes through the caches": (WAYS, "size >= engine.stream_from\n", "size > engine.stream_from\n", STREAMING),
    "what is not whole goes past the caches": (WAYS, "if k != mask and rows == 0 and job.modes[k] != WHOLE:", "if 0:", STREAMING),
    "what is replaced goes past the caches": (WAYS, "if k < last and job.pointers[k] == target:", "if 0:", STREAMING),
    "past the caches, arrays of parameters are one number each": (WAYS, "job.uniform = job.constant", "job.uniform = 1", STREAMING),
    "outputs need not lie alike in their lines": (WAYS, "if apart & (LINE - 1):", "if 0:", STREAMING),
    "a mask that is made goes past the caches": (WAYS, "if mask >= last or (", "if (", STREAMING),
    "a line goes where the one before went": (STRIPS, "self._store(self._places(i), self._compute(self.sources, i), past=True)", "self._store(self._places(_I64(0)), self._compute(self.sources, i), past=True)", STREAMING),
    "the last line is left out": (STRIPS, "loop(b, _I64(0), self.whole, lanes, past_the_caches)", "loop(b, _I64(0), b.sub(self.whole, _I64(lanes)), lanes, past_the_caches)", STREAMING),
    "a line is computed from the first elements": (STRIPS, "self._compute(self.sources, i), past=True", "self._compute(self.sources, _I64(0)), past=True", STREAMING),
    "rows may overlap their output": (ROWS, "if source != target and source", "if source != source and source", ROW_TESTS),
    "rows are computed into what is read-only": (ROWS, "if last and out.flags & WRITEABLE == 0:", "if 0:", ROW_TESTS),
    "rows need not be contiguous": (ROWS, "LIES = C_CONTIGUOUS | ALIGNED", "LIES = ALIGNED", ROW_TESTS),
    "rows of any shape are one shape": (ROWS, " or not has_shape(a, axes, shape)", "", ROW_TESTS),
    "a given output of rows is not counted": (ROWS, "        call1(engine.incref, out)\n", "", ROW_TESTS),
    "places for exponentials are not given back": (ROWS, "    if waiting != 0:\n        call3(engine.pool_free", "    if waiting == 1:\n        call3(engine.pool_free", ROW_TESTS),
    "bits that a call made can be changed": (ENTRY, "a.flags &= ~WRITEABLE", "a.flags |= WRITEABLE", ["contract/test_masks.py"]),
    "a mask forgets its parameters": ("functions/signatures.py", "x.shape, _maker_, {{{named}}}", "x.shape, _maker_, {{}}", ["contract/test_masks.py"]),
    "a pullback forgets its parameters": ("functions/signatures.py", "_partial_(_backward_, mask=_mask_{same_keywords})", "_partial_(_backward_, mask=_mask_)", ["contract/test_masks.py"]),
    "a table is looked up from its end": (VECTORS, "list(table) * (max(8, size) // 8)", "list(table[::-1]) * (max(8, size) // 8)", PRIMITIVES),
    "every register looks up for the first": (VECTORS, "_pick(builder, index, range(k, k + size))", "_pick(builder, index, range(size))", PRIMITIVES),
    "half of a table is loaded from": (TRACE, "place.type(len(table) - 1)", "place.type(len(table) // 2 - 1)", PRIMITIVES),
    "what is known is compared the other way": (TRACING, "[node.number for node in nodes])", "[node.number for node in nodes[::-1]])", PRIMITIVES),
    "a tail is taken for 0 that may be": (PARTS, "return all(map(is_zero, tail.operands[-2:]))", "return any(map(is_zero, tail.operands[-2:]))", PRIMITIVES),
    "a factor of 1 takes its tail along": (PARTS, 'getattr(x, "number", x) == 1 and is_zero(tail)', 'getattr(x, "number", x) == 1', PRIMITIVES),
    "a product of a zero loses its sign": (PARTS, "lost = 0.0  #", "lost = -0.0  #", PRIMITIVES),
    "a product loses a tail": (PARTS, "lost if is_zero(tail) else fma(-number, tail, lost)", "fma(-number, tail, 0.0)", PRIMITIVES),
    "a sum of any order is one of order": (PARTS, "lost = (x - (s - kept)) + (y - kept)", "lost = y - kept", PRIMITIVES),
    "a quotient loses the tail of its divisor": (PARTS, "(q * y_tail if is_zero(x_tail) else fma(q, y_tail, -x_tail))", "(q * y_tail if is_zero(x_tail) else -x_tail)", PRIMITIVES),
    "the tail of a zero has the other sign": (PARTS, "return q, -(r * excess)", "return q, r * -excess + 0.0", PRIMITIVES),
    "a power of two wraps where it is 0": (PARTS, "where(k < 0, 0, k) << places", "k << places", PRIMITIVES),
    "exp(x) - 1 overflows late": (SINGLE, "between(x, -60.0, 89.0)", "between(x, -60.0, 90.0)", PRIMITIVES),
    "exp(x) - 1 of 16 bits overflows late": ("formulas/smooth/plain.py", "between(x, -60.0, 89.0)", "between(x, -60.0, 90.0)", PRIMITIVES),
    "one is lost in an exponential": (PARTS, "fma(scale, m, -y) - one, lost)", "fma(scale, m, -one - y), lost)", PRIMITIVES),
    "a small argument has no tail": (SINGLE, "where(tiny, fma(0.5 * x, x, tail), low)", "where(tiny, 0.5 * x * x, low)", PRIMITIVES),
    "beyond a zero its polynomial goes on": (SINGLE, "abs(d) < polynomials.REACH", "abs(d) < 0.3", PRIMITIVES),
    "a zero is one number": (SINGLE, "rest = -at_rest if is_zero(tail) else tail - at_rest", "rest = 0.0 if is_zero(tail) else tail", PRIMITIVES),
    "a slope at a zero is one number": (SINGLE, "fma(d, slope_rest, rest * fma", "(rest * fma", PRIMITIVES),
    "a tail of 0 gives other bits than none": (SINGLE, "tiny = abs(x) < 2.0**-25", "tiny = abs(x) < 2.0**-24", DEFAULTS),
    "less than the default is the default": (KERNEL, 'compare("==", given, expected)', 'compare("<=", given, expected)', DEFAULTS),
    "other parameters than numbers are the default": (KERNEL, "            if k in known:\n", "            if k in known or k in defaults:\n", DEFAULTS),
    "what others fuse is compiled without the instruction": (KERNEL, '{"fma", *SMOOTH} - {"whole", "sum_parts"}', '{"fma", "exp", "exp_parts"}', ["engine/test_target.py"]),
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Keep compiled code for all mutants; what a mutant compiles otherwise has another key."""
    return tmp_path_factory.mktemp("store")


def run_tests(package: Path, store: Path, files: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(str(ROOT / "tests" / name) for name in files)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(package), "RECTIFIER_STORE": str(store), "RECTIFIER_TEST_STORE": "given"}, capture_output=True, text=True, timeout=900,
    )  # fmt: skip


@pytest.mark.slow
def test_a_copy_without_mutation_passes(tmp_path, store):
    shutil.copytree(ROOT / "src" / "rectifier", tmp_path / "rectifier")
    run = run_tests(tmp_path, store, FAST + STREAMING)
    assert run.returncode == 0, run.stdout[-2000:]


@pytest.mark.parametrize("name", MUTANTS)
def test_what_a_mutant_changes_is_there(name):
    file, old, new, *_ = MUTANTS[name]
    assert old in (ROOT / "src" / "rectifier" / file).read_text(), f"{file} no longer says {old!r}"
    assert old != new


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path, store):
    shutil.copytree(ROOT / "src" / "rectifier", tmp_path / "rectifier")
    file, old, new, *files = MUTANTS[name]
    path = tmp_path / "rectifier" / file
    path.write_text(path.read_text().replace(old, new))
    run = run_tests(tmp_path, store, *files or [FAST])
    caught = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", run.stdout, re.MULTILINE)
    assert run.returncode in (-signal.SIGSEGV, -signal.SIGABRT) or (run.returncode == 1 and caught), run.stdout[-2000:]
    print(f"{name}: caught by {caught or 'a crash'}")
