"""Machine code for other processors than this one, and what becomes of a process whose LLVM cannot make some."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from conftest import run_python
from rectifier.cpu import store, target
from rectifier.cpu.raw import enter_default_floating_point, leave_default_floating_point, pause, ticks

HERE = str(Path(__file__).parent)
ARM = {
    "linux": target.Target("aarch64-unknown-linux-gnu", "generic", ""),
    "mac": target.Target("arm64-apple-darwin23.0.0", "apple-m1", ""),
}
# As on Arm before: LLVM has no parser for it.
INLINE_ASSEMBLY = 'define void @"rectifier.f"() {\n  call void asm sideeffect "nop", ""()\n  ret void\n}\n'


def wait():
    pause()
    return ticks()


def around():
    saved = enter_default_floating_point()
    leave_default_floating_point(saved)


def modules():
    """Compile, for AArch64, what every call needs, and a kernel of each kind."""
    import rectifier
    from rectifier import _block
    from rectifier.cpu import casts, engine, kernels, memory, rowkernels

    arm = ARM["linux"]
    yield "engine", engine.build(arm)
    yield "pool", memory.build(arm)
    yield "cast", casts.build("float16", True, "float32", arm)
    for name, direction, dtype in (
        ("relu", _block.VALUE, "bfloat16"), ("relu", _block.VALUE, "uint8"), ("relu", _block.WITH_MASK, "float16"),
        ("relu", _block.BACKWARD_FROM_MASK, "float64"), ("leaky_relu", _block.BACKWARD, "bfloat16"),
        ("silu", _block.VALUE, "float16"), ("sigmoid", _block.BACKWARD, "float64"),
        ("swiglu", _block.BACKWARD_TO_BOTH, "float32"),
    ):  # fmt: skip
        compiled = kernels.compile_kernel(getattr(rectifier, name).block, direction, dtype, arm)
        yield f"{name}.{direction.name} in {dtype}", compiled
    for backward, dtype in ((False, "float16"), (True, "float32")):
        yield f"rows in {dtype}", rowkernels.compile_kernel(rectifier.softmax.block, backward, dtype, arm)


def emit_all():
    """Emit them for each kind of AArch64: where LLVM cannot, this process ends."""
    for name, built in modules():
        print(name, flush=True)
        for arm in ARM.values():
            module = built.module.clone()
            module.triple, module.data_layout = arm.triple, str(arm.machine().target_data)
            code = store._emit(module, arm)
            assert len(code) > 300
            if store.is_elf(code):
                defined, undefined = store.symbols(code)
                assert defined == {store.PREFIX + function for function in built.names}
                assert undefined <= store.MAY_CALL, undefined


def assemble(*functions):
    """Give the assembly of translated functions on AArch64."""
    from rectifier.cpu import translate

    return ARM["linux"].machine().emit_assembly(translate.optimised(functions, ARM["linux"]).module)


def ours(code: str):
    """Run code in a process of its own, which may end."""
    return run_python(f"import sys; sys.path.insert(0, {HERE!r}); import test_target\n{code}")


def test_llvm_makes_code_for_arm_of_whatever_a_call_needs():
    run = ours("from rectifier.cpu import target; target.emit = target._emit_here\n"
               "test_target.store.emit = target._emit_here; test_target.emit_all()")  # fmt: skip
    assert run.returncode == 0, f"after {run.stdout.splitlines()[-1:]}: {run.stderr}"
    assert len(run.stdout.splitlines()) == 13


def test_on_arm_the_clock_and_the_floating_point_registers_are_those_that_programs_may_use():
    run = ours("print(test_target.assemble(test_target.wait), test_target.assemble(test_target.around))")
    assert re.search(r"\tyield\n\tmrs\tx0, CNTVCT_EL0\n\tret", run.stdout), run.stdout + run.stderr
    moves = re.findall(r"\t(mrs|msr)\t(\w+), (\w+)", run.stdout)
    read = {special: register for kind, register, special in moves if kind == "mrs" and special != "CNTVCT_EL0"}
    written = [(special, register) for kind, special, register in moves if kind == "msr"]
    assert set(read) == {"FPCR", "FPSR"}
    assert written[0] == ("FPCR", "xzr")
    # Flags and all are as they were: what was read is written back, after optimisation from the same register.
    assert sorted(written[1:]) == sorted(read.items())


def test_each_architecture_has_its_own_numbers_of_system_calls():
    from rectifier.cpu import threads, translate

    engines = {}
    for name, kind in (("x86_64", target.host()), ("aarch64", ARM["linux"])):
        if kind.architecture == name:
            engines[name] = str(translate.optimised([threads._futex], kind).module)
    assert re.search(r"\(i64 98, ", engines["aarch64"])
    assert "x86_64" not in engines or re.search(r"\(i64 202, ", engines["x86_64"])


@pytest.mark.skipif(target.host().architecture != "x86_64", reason="the same code from both")
def test_another_process_makes_the_same_code():
    import test_store

    module = test_store.sample().module.clone()
    assert target.emit_apart(module, target.host()) == target._emit_here(module, target.host())


@pytest.mark.parametrize("arm", ARM.values(), ids=ARM)
def test_where_llvm_ends_that_process_this_one_gets_an_error(arm):
    import llvmlite.binding as llvm

    module = llvm.parse_assembly(f'target triple = "{arm.triple}"\n{INLINE_ASSEMBLY}')
    with pytest.raises(target.EmissionError, match=f"made no code for {arm.triple}: .*[Aa]sm"):
        target.emit_apart(module, arm)


UNTESTED = """
import sys, warnings
import numpy as np
from rectifier.cpu import raw, target, ufuncs
target.TESTED = ()
x = np.array([-1.0, 2.0], "f4")
"""


def test_where_llvm_cannot_make_the_engine_numpy_serves_and_says_so_once(tmp_path):
    run = run_python(
        UNTESTED + "from llvmlite import ir\n"
        "from rectifier.cpu import threads\n"
        "threads.pause = raw.Instruction(\n"
        "    lambda b: b.asm(ir.FunctionType(ir.VoidType(), []), 'pause', '', [], side_effect=True))\n"
        "from rectifier import gelu, relu, softmax\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    assert relu(x).tolist() == [0, 2] and relu.derivative(x).tolist() == [0, 1]\n"
        "    assert abs(gelu(x) - [-0.158655, 1.9545]).max() < 1e-5 and abs(softmax(x).sum() - 1) < 1e-6\n"
        "print(len(told), told[0].message, ufuncs.engine())",
        RECTIFIER_STORE=str(tmp_path),
    )
    assert run.stdout.startswith(
        "1 rectifier computes every function with NumPy, slower than compiled (EmissionError: "
    ), run.stdout + run.stderr
    assert "('numpy', \"LLVM " in run.stdout


def test_where_no_test_runs_code_is_made_apart_and_a_kernel_may_fail_alone(tmp_path):
    run = run_python(
        UNTESTED + "made = []; apart = target.emit_apart\n"
        "def some(module, goal):\n"
        "    made.append(1)\n"
        "    if 'rectifier.kernel' in str(module) and 'fmul' in str(module):\n"
        "        raise target.EmissionError('no products')\n"
        "    return apart(module, goal)\n"
        "target.emit_apart = some\n"
        "from rectifier import leaky_relu, relu\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    assert leaky_relu(x, negative_slope=0.5).tolist() == [-0.5, 2] and relu(x).tolist() == [0, 2]\n"
        "loops = [ufuncs.methods(f.block)[0].loops['float32'].compiled for f in (leaky_relu, relu)]\n"
        "print(len(made), len(told), ufuncs.engine()[0], *map(bool, loops), told[0].message)",
        RECTIFIER_STORE=str(tmp_path),
    )
    expected = "4 1 numba False True rectifier computes leaky_relu.value in float32 with NumPy"
    assert run.stdout.startswith(expected), run.stdout + run.stderr


@pytest.mark.parametrize("python", ["/nowhere/python3", "python-that-says-nothing", "python-that-hangs"])
def test_where_no_other_process_makes_code_numpy_serves_rows_and_all(tmp_path, python):
    (tmp_path / "python-that-says-nothing").symlink_to("/bin/true")
    (tmp_path / "python-that-hangs").write_text("#!/bin/sh\nexec sleep 100\n", encoding="ascii")
    (tmp_path / "python-that-hangs").chmod(0o755)
    run = run_python(
        UNTESTED + f"sys.executable, target.PATIENCE = {str(tmp_path / python)!r}, 0.5\n"
        "from rectifier import relu, softmax\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    assert abs(softmax(x).sum() - 1) < 1e-6 and relu(x).tolist() == [0, 2]\n"
        "    assert abs(softmax(np.zeros((2, 50000), 'f4')) - 2e-5).max() < 1e-9\n"
        "print(len(told), ufuncs.engine()[0])",
        RECTIFIER_STORE="off",
    )
    assert run.stdout == "1 numpy\n", run.stdout + run.stderr


@pytest.mark.parametrize(("name", "frozen"), [("python3.11", True), ("blender", False), ("", False)])
def test_an_application_that_python_is_part_of_is_not_started(monkeypatch, name, frozen):
    monkeypatch.setattr(target, "TESTED", ())
    monkeypatch.setattr(sys, "executable", name)
    monkeypatch.setattr(sys, "frozen", frozen, raising=False)
    monkeypatch.setattr(target, "_emit_here", lambda module, goal: b"here")
    monkeypatch.setattr(target, "emit_apart", lambda module, goal: b"apart")
    assert target.emit(None, target.host()) == b"here"
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3.11")
    monkeypatch.setattr(sys, "frozen", False)
    assert target.emit(None, target.host()) == b"apart"


@pytest.mark.parametrize(
    ("system", "kind", "version"), [("darwin", "x86_64", 22), ("linux", "aarch64", 22), ("linux", "x86_64", 23)]
)
def test_only_what_the_tests_run_on_is_trusted(monkeypatch, system, kind, version):
    import llvmlite.binding as llvm

    monkeypatch.setattr(target, "_emit_here", lambda module, goal: b"here")
    monkeypatch.setattr(target, "emit_apart", lambda module, goal: b"apart")

    def emitted(system, kind, version):
        monkeypatch.setattr(sys, "platform", system)
        monkeypatch.setattr(llvm, "llvm_version_info", (version, 1, 0))
        return target.emit(None, target.Target(f"{kind}-unknown-{system}", "", ""))

    assert emitted(system, kind, version) == b"apart"
    assert emitted("linux", "x86_64", 22) == b"here"
