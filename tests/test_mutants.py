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

ROOT = Path(__file__).parent.parent
FAST = [
    f"test_{name}.py"
    for name in ("contract", "masks", "arguments", "layouts", "dtypes", "exhaustive", "protocols", "engines")
]

# file: (what stands there, what the mutant says, test files if not all)
FORMULA, DIRECTION, KERNEL = "catalogue/piecewise.py", "_block.py", "cpu/kernels.py"
DRIVER, CALLS, TABLE, INTERPRETER = "cpu/driver.py", "_calls.py", "_dtypes.py", "cpu/interpreter.py"
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
    "backward multiplies": (DIRECTION, "d = derivative(x, *parameters)\n    return where(d == T(0), T(0), dy * d)",
                            "d = derivative(x, *parameters)\n    return dy * d"),
    "backward from a mask multiplies": (
        DIRECTION, "d = where(bit, high, low)\n    return where(d == T(0), T(0), dy * d)",
        "d = where(bit, high, low)\n    return dy * d",
    ),
    "NaN is off in a mask": ("_activation.py", "x, *parameters: (x <= T(0), T(0), T(1))", "x, *parameters: (where(x > T(0), T(0), T(1)) > T(0), T(0), T(1))"),
    "the last element is left out": (KERNEL, 'icmp_signed("<", following, n)', 'icmp_signed("<", builder.add(following, _I64(1)), n)'),
    "bfloat16 rounds half up": (KERNEL, "builder.add(odd, ir.Constant(_I32, 0x7FFF))", "ir.Constant(_I32, 0x8000)"),
    "bfloat16 truncates": (KERNEL, "builder.lshr(rounded, ir", "builder.lshr(bits, ir"),
    "bfloat16 products are narrowed by the processor": (KERNEL, 'if "fptrunc" not in', 'if "nonsense" not in'),
    "every parameter is one number": (KERNEL, 'icmp_signed("!=", uniform', 'icmp_signed(">=", uniform'),
    "an operand is taken for the one before": (KERNEL, "builder.gep(pointers, [_I64(k)])", "builder.gep(pointers, [_I64(max(k - 1, 0))])"),
    "fast arithmetic": (KERNEL, 'jit = numba.njit(error_model="numpy", ', 'jit = numba.njit(fastmath={"nnan", "ninf", "nsz", "contract"}, error_model="numpy", '),
    "bits after the last are left": (DRIVER, "flags[i] = 0 ", "pass "),
    "mask bytes overlap": (DRIVER, "_pack(offset(arrays[k], start // 8)", "_pack(offset(arrays[k], start // 16)"),
    "mask bytes are read from the start": (DRIVER, "_unpack(tile, offset(arrays[k], start // 8), m)", "_unpack(tile, arrays[k], m)"),
    "a mask's last bytes are not read": (DRIVER, "_copy_elements(last, 1, offset(mask, 8 * whole), 1, (n % 64 + 7) // 8, 1)",
                                         "_copy_elements(last, 1, offset(mask, 8 * whole), 1, n % 64 // 8, 1)"),
    "a tile is no whole number of mask words": (DRIVER, "TILE // largest // 64 * 64", "TILE // largest - 3"),
    "strides are ignored": (DRIVER, "contiguous &= steps[k] == plan[SIZE + k]", "contiguous &= steps[k] != 0"),
    "a tile is not written back": (DRIVER, "elif step != size:\n                _copy_elements(offset(arrays[k]", "elif step > 64:\n                _copy_elements(offset(arrays[k]"),
    "a broadcast operand is read once too rarely": (DRIVER, "(step != 0 or start == 0)", "step != 0"),
    "the floating-point state is the caller's": (DRIVER, "ir.Constant(_I32, 0x1F80)", "ir.Constant(_I32, 0x9FC0)"),
    "the caller's state is not restored": (DRIVER, "    leave_default_floating_point(saved)\n\n\ndef _mask_loop", "\n\ndef _mask_loop"),
    "float16 is computed in float16": (TABLE, '"float16": np.float32', '"float16": np.float16'),
    "bfloat16 is computed in float64": (TABLE, '"bfloat16": np.float32', '"bfloat16": np.float64'),
    "int16 is computed in int8": (TABLE, '"int16": np.int16', '"int16": np.int8'),
    "float64 is computed in float32": (TABLE, '"float64": np.float64', '"float64": np.float32'),
    "bool is let in": (TABLE, "dtype.name in WORKING if", "dtype.name in (*WORKING, 'bool') if"),
    "a mask is made after its parameters are overwritten": (
        CALLS, "Mask.made(bits, shape, block.full_name, recorded)", "Mask.made(bits, shape, block.full_name, _recorded(block, values))",
    ),
    "overlap is ignored": (CALLS, "source = source.copy()", "pass"),
    "the NumPy reading packs big-endian": (INTERPRETER, 'chunk.stop - chunk.start), bitorder="little")', 'chunk.stop - chunk.start), bitorder="big")'),
    "the NumPy reading drops a chunk": (INTERPRETER, "range(0, n, step)", "range(0, n, step + 1)"),
    "results do not feed the next": (DRIVER, "if n > 1 and address(arrays[0])", "if n < 0 and address(arrays[0])"),
    "nor in the NumPy reading": (INTERPRETER, "step = 1 if fold else CHUNK", "step = CHUNK"),
    "the NumPy reading leaves flags": (INTERPRETER, "np.add(1.0, 1.0)", "pass"),
}  # fmt: skip


def run_tests(package: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *(str(ROOT / "tests" / name) for name in FAST)],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(package)}, capture_output=True, text=True, timeout=600,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught(name, tmp_path):
    shutil.copytree(ROOT / "src" / "rectifier", tmp_path / "rectifier")
    file, old, new = MUTANTS[name]
    path = tmp_path / "rectifier" / file
    text = path.read_text()
    assert text.count(old) >= 1, f"{file} no longer says {old!r}"
    path.write_text(text.replace(old, new))
    run = run_tests(tmp_path)
    caught = re.findall(r"^(?:FAILED|ERROR) tests/(\S+)", run.stdout, re.MULTILINE)
    assert run.returncode in (-signal.SIGSEGV, -signal.SIGABRT) or (run.returncode == 1 and caught), run.stdout[-2000:]
    print(f"{name}: caught by {caught or 'a crash'}")


@pytest.mark.slow
def test_a_copy_without_mutation_passes(tmp_path):
    shutil.copytree(ROOT / "src" / "rectifier", tmp_path / "rectifier")
    run = run_tests(tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
