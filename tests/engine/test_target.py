"""Machine code for other processors than this one, and what becomes of a process whose LLVM cannot make some."""

from __future__ import annotations

import ctypes
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import stored_sample
from code_for_arm import ARM, EVERY, assemble
from llvmlite import ir

import rectifier
from conftest import run_python
from rectifier.engine import options, process, store
from rectifier.engine.compiler import instructions, optimise, strips, target, vectors
from rectifier.engine.compiler.instructions import (
    call4,
    enter_default_floating_point,
    leave_default_floating_point,
    load,
)
from rectifier.engine.compiler.instructions import store as put
from rectifier.engine.runtime import layout
from rectifier.engine.runtime.layout import Engine, LoopDescriptor
from rectifier.engine.runtime.threads import expected
from rectifier.formulas.smooth import polynomials

# As on Arm before: LLVM has no parser for it.
INLINE_ASSEMBLY = 'define void @"rectifier.f"() {\n  call void asm sideeffect "nop", ""()\n  ret void\n}\n'


def ours(code: str):
    """Run code in a process of its own, which may end."""
    folders = [str(Path(__file__).parents[k]) for k in (0, 1)]
    return run_python(f"import sys; sys.path[:0] = {folders!r}; import code_for_arm\n{code}")


def emitted(modules: str) -> list[str]:
    run = ours("from rectifier.engine.compiler import target; target.emit = target._emit_here\n"
               "code_for_arm.optimise.emit = target._emit_here\n"
               f"from code_for_arm import *; emit_all({modules})")  # fmt: skip
    assert run.returncode == 0, f"after {run.stdout.splitlines()[-1:]}: {run.stderr}"
    assert not run.stderr  # LLVM remarks on what it was told and could not do
    return run.stdout.splitlines()


def test_llvm_makes_code_for_arm_of_whatever_a_call_needs():
    assert len(emitted("shared_modules()")) == 11 + len(EVERY)


def test_llvm_makes_code_for_arm_of_every_kind_of_kernel():
    assert len(emitted("modules_of(some_kernels())")) > 10


@pytest.mark.slow
def test_llvm_makes_code_for_arm_of_every_kernel():
    assert len(emitted("modules_of(all_kernels())")) > 500


def test_on_arm_the_clock_and_the_floating_point_registers_are_those_that_programs_may_use():
    run = ours("print(code_for_arm.assemble(code_for_arm.wait), code_for_arm.assemble(code_for_arm.around))")
    assert re.search(r"\tyield\n\tmrs\tx0, CNTVCT_EL0\n\tret", run.stdout), run.stdout + run.stderr
    moves = re.findall(r"\t(mrs|msr)\t(\w+), (\w+)", run.stdout)
    read = {special: register for kind, register, special in moves if kind == "mrs" and special != "CNTVCT_EL0"}
    written = [(special, register) for kind, special, register in moves if kind == "msr"]
    assert set(read) == {"FPCR", "FPSR"}
    assert written[0] == ("FPCR", "xzr")
    # Flags and all are as they were: what was read is written back, after optimisation from the same register.
    assert sorted(written[1:]) == sorted(read.items())


X86, ARM64 = "x86_64-pc-linux-gnu", "aarch64-unknown-linux-gnu"


@pytest.mark.parametrize(
    ("triple", "features", "can"),
    [
        (X86, "+fma,+f16c", {"fuses", "converts_halves"}),
        (X86, "+fma,-f16c", {"fuses"}),
        (X86, "-fma,+f16c", {"converts_halves"}),
        (X86, "+fma4,+avx512f,+sve", set()),
        (X86, "", set()),
        (ARM64, "", {"fuses", "converts_halves"}),
        (ARM64, "+neon,+sve,+fullfp16", {"fuses", "converts_halves"}),
        ("arm64-apple-darwin23.0.0", "-fma,-f16c,-sve", {"fuses", "converts_halves"}),
        ("riscv64-unknown-linux-gnu", "+fma,+f16c,+sve", set()),
    ],
)
def test_what_a_processor_can_do_is_known_of_each_architecture_and_never_guessed(triple, features, can):
    questions = ("fuses", "converts_halves")
    assert {question for question in questions if getattr(target.Target(triple, "", features), question)} == can


@pytest.mark.parametrize(
    ("triple", "features", "size"),
    [
        (X86, "+avx512f,+avx2", 64),
        (X86, "-avx512f,+avx2", 32),
        (X86, "+sse2", 16),
        (ARM64, "+neon,+sve", 16),
    ],
)
def test_registers_are_as_long_as_the_processor_has_them(triple, features, size):
    assert target.Target(triple, "", features).register == size


@pytest.mark.skipif(target.host().architecture != "x86_64", reason="on 64-bit Arm every processor has them all")
def test_what_a_level_of_processors_lacks_is_interpreted_without_a_warning():
    run = run_python(
        "import numpy as np\n"
        "from rectifier import relu, silu\n"
        "from rectifier.engine.compiler import target; from rectifier.engine import ufuncs\n"
        "x = np.array([-1.0, 2.0], 'f4')\n"
        "assert relu(x).tolist() == [0, 2] and relu(x.astype('f2')).tolist() == [0, 2]\n"
        "assert abs(silu(x) - [-0.26894143, 1.7615942]).max() < 1e-7\n"
        "cases = (relu, 'float32'), (relu, 'float16'), (silu, 'float32')\n"
        "loops = [function.methods['value'].loops[dtype] for function, dtype in cases]\n"
        "print(target.host().features, *[bool(loop.compiled) for loop in loops])",
        RECTIFIER_CPU="x86-64",
        RECTIFIER_STORE="off",
    )
    assert run.stdout == "+cmov,+cx8,+fxsr,+mmx,+sse,+sse2 True False False\n", run.stderr


def test_without_fma_no_kernel_has_any():
    """Of each lane a call of `fmaf` would be made, which is not in the code: NumPy computes those functions."""
    from rectifier.catalogue import CATALOGUE, GATES
    from rectifier.engine.compiler import kernels
    from rectifier.functions.specification import DERIVATIVE, VALUE

    second, refused, made = target.of_level(X86, "x86-64-v2"), set(), set()
    assert not second.fuses
    for function in (*CATALOGUE.values(), *GATES.values()):
        for operation in function.spec.operations.values():
            if function.spec.name in CATALOGUE and operation not in (VALUE, DERIVATIVE):
                continue
            for dtype in ("float32", "float64"):
                case = function.spec.name, operation.name, dtype
                try:
                    kernels.require_instructions(
                        [getattr(function.spec, part) for part in operation.parts], dtype, second
                    )
                except NotImplementedError:
                    refused.add(case)
                    continue
                module = instructions.Module(second)
                kernels.emit_kernel(module, "kernel", function.spec, operation, dtype, second)
                assert "llvm.fma" not in str(module), case
                made.add(case)
    assert {("gelu", "value", "float32"), ("tanh", "value", "float32"), ("softsign", "value", "float64")} <= refused
    assert {("relu", "value", "float32"), ("squared_relu", "derivative", "float64")} <= made


# What looks up a number of a table of eight for each lane of a register.
LOOKING_UP = {
    "x86-64-v2 with FMA": (target.of_level(X86, "x86-64-v2"), ",+fma", None),
    "x86-64-v3": (target.of_level(X86, "x86-64-v3"), "", r"\tvperm(?:ps|d)\t.*%ymm"),
    "x86-64-v4": (target.of_level(X86, "x86-64-v4"), "", r"\tvperm(?:ps|d)\t.*%zmm"),
    "aarch64": (target.of_level(ARM64, "generic"), "", r"\ttbl\t.*\.16b, \{"),
}


@pytest.mark.parametrize("name", LOOKING_UP)
def test_tables_are_looked_up_by_one_instruction_where_there_is_one(name):
    from rectifier.engine.compiler import kernels
    from rectifier.functions.specification import VALUE

    kind, more, instruction = LOOKING_UP[name]
    kind = kind._replace(features=kind.features + more)
    assert (vectors.permutation(kind) is None) == (instruction is None)
    module = kernels.compile_kernel(rectifier.gelu.spec, VALUE, "float32", kind).module
    code = kind.machine().emit_assembly(module)
    tables = len(re.findall(r"constant \[8 x float\]", str(module)))
    rows = 1 + len(polynomials.NORMAL_TAIL_SINGLE) + len(polynomials.NORMAL_TAIL_CURVE_SINGLE)
    if instruction is None:
        assert tables == rows
        assert not re.search(r"\tvperm(?:ps|d)\t", code)
    else:
        assert not tables
        assert len(re.findall(instruction, code)) == strips.INTERLEAVE * rows
    assert not re.search(r"\b(?:call|bl)[a-z]*\s+[^*%\s]*(?:fma|exp)", code)


def test_levels_of_processors_are_each_with_all_before():
    third = target.of_level(X86, "x86-64-v3")
    assert third.processor == "x86-64-v3"
    assert {"+sse2", "+ssse3", "+avx2", "+fma", "+f16c"} < set(third.features.split(","))
    assert (third.fuses, third.converts_halves, third.register) == (True, True, 32)
    assert target.of_level(X86, "x86-64-v4").register == 64
    for triple, level in ((ARM64, "x86-64-v3"), (X86, "generic"), ("riscv64-unknown-linux-gnu", "generic")):
        with pytest.raises(ValueError, match=f"has no '{level}'"):
            target.of_level(triple, level)


def test_a_processor_that_does_not_exist_is_refused_with_those_that_do():
    run = run_python("import rectifier", RECTIFIER_CPU="znver9")
    assert "RECTIFIER_CPU is 'znver9'; it takes native, or a level: x86-64, x86-64-v2, x86-64-v3" in run.stderr


def test_a_level_that_this_processor_lacks_is_refused_by_what_it_lacks(monkeypatch):
    import llvmlite.binding as llvm

    monkeypatch.setenv("RECTIFIER_CPU", "x86-64-v3")
    monkeypatch.setattr(options.CPU, "known", None)
    monkeypatch.setattr(llvm, "get_process_triple", lambda: X86)
    lacking = type(llvm.get_host_cpu_features())({"fma": False, "avx2": False, "sse2": True})
    monkeypatch.setattr(llvm, "get_host_cpu_features", lambda: lacking)
    with pytest.raises(ValueError, match=r"RECTIFIER_CPU is 'x86-64-v3', and this processor.* lacks avx2, fma"):
        target._processor.__wrapped__()


def native(*functions):
    """Compile functions for this machine, and give them as Python sees them: of integers."""
    from rectifier.engine.compiler import subset

    names = {optimise.PREFIX + function.__name__ for function in functions}
    code = store._load(optimise.object_of(subset.optimised(functions).module, target.host()), names)
    return [
        ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * function.__code__.co_argcount)(code[function.__name__])
        for function in functions
    ]


def probe(state, loop, arrays, sizes, steps, plan):
    saved = enter_default_floating_point()
    leave_default_floating_point(state)
    call4(loop, arrays, sizes, steps, plan)
    after = enter_default_floating_point()
    leave_default_floating_point(saved)
    return after


# As `enter_default_floating_point` has it: MXCSR; FPCR, and above it FPSR.
STATES = {
    "x86_64": {
        "default": 0x1F80, "toward zero": 0x7F80, "subnormals are zero": 0x9FC0, "flags": 0x1FBF, "some": 0x1F95,
        "all": 0xFFC0 | 0x15,
    },
    "aarch64": {
        "default": 0, "toward zero": 3 << 22, "subnormals are zero": 1 << 24, "flags": 0x0800009F << 32,
        "some": 0x15 << 32, "all": 0x15 << 32 | 3 << 22,
    },
}[target.host().architecture]  # fmt: skip


@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("name", ["relu", "mish"])
def test_control_and_flags_of_floating_point_are_as_before_after_a_call(state, name):

    x = np.array([np.nan, np.inf, -np.inf, 1e-40, -3e38, 3e38, 0.1, -88, -104, -1e-45] * 5, "f4")
    function, y = getattr(rectifier, name), np.empty_like(x)
    expected = function(x)  # compiles
    assert not np.isnan(expected).all()
    assert not function.spec.parameters
    loop = function.methods["value"].loops["float32"]
    arrays, sizes, steps = (np.array(words) for words in ([x.ctypes.data, y.ctypes.data], [x.size], [4, 4]))
    (call,) = native(probe)
    code = process.code()["loop"]
    assert call(state, code, arrays.ctypes.data, sizes.ctypes.data, steps.ctypes.data, loop.plan) == state
    assert y.tobytes() == expected.tobytes()


ROW, WORD = ir.VectorType(ir.IntType(8), 64), ir.IntType(64)


def _pack64(b, target, source):
    flags = b.load(instructions.at(b, source, ROW))
    flags.align = 1
    bits = vectors.conditions_to_bits(b, b.icmp_unsigned("!=", flags, vectors.constant(ROW, 0)))
    b.store(bits, instructions.at(b, target, WORD))


def _unpack64(b, target, source):
    conditions = vectors.bits_to_conditions(b, b.load(instructions.at(b, source, WORD)))
    b.store(b.zext(conditions, ROW), instructions.at(b, target, ROW)).align = 1


pack64, unpack64 = instructions.Instruction(_pack64), instructions.Instruction(_unpack64)


def pack(bits, flags):
    pack64(bits, flags)


def unpack(flags, bits):
    unpack64(flags, bits)


def test_bits_of_a_mask_are_packed_and_unpacked_in_order():
    rng = np.random.default_rng(3)
    packing, unpacking = native(pack, unpack)
    words = [
        0,
        2**64 - 1,
        *(1 << k for k in range(64)),
        *map(int, rng.integers(0, 2**64, 200, np.uint64, endpoint=False)),
    ]
    for word in words:
        flags = np.array([word >> k & 1 for k in range(64)], np.uint8)
        bits, back = np.zeros(8, np.uint8), np.full(64, 77, np.uint8)
        packing(bits.ctypes.data, flags.ctypes.data)
        assert int.from_bytes(bits.tobytes(), "little") == word
        unpacking(back.ctypes.data, bits.ctypes.data)
        assert (back != 0).tolist() == flags.astype(bool).tolist()


@pytest.mark.parametrize(("function", "most"), [(pack, 24), (unpack, 48)])
def test_masks_take_few_instructions_of_neon(function, most):
    """Half of them load constants, once a loop. By way of i1 it was 33 and 135."""
    lines = [line for line in assemble(function).splitlines() if re.match(r"\t[a-z]", line)]
    assert 10 < len(lines) <= most


def estimate(plan: LoopDescriptor, engine: Engine, n):
    return expected(plan, engine, n)


@pytest.mark.parametrize("megahertz", [25, 1000, 4000])
def test_what_a_job_takes_is_expected_to_a_hundredth_on_slow_clocks_and_of_any_length(monkeypatch, megahertz):
    (ticks_of,) = native(estimate)
    monkeypatch.setattr(process._State, "ticks_per_microsecond", float(megahertz))
    loop, words = layout.LoopDescriptor.new(), layout.Engine.new()
    loop.element_bytes, loop.cost = 8, process.cost(0.1)
    words.near_cache, words.byte_cost = 32768, process.cost(0.05)
    for n, nanoseconds in ((4096, 409.6), (10**6, 5e5), (10**9, 5e8)):
        found = ticks_of(loop, words, n)
        assert abs(found - nanoseconds * megahertz / 1e3) <= 0.01 * nanoseconds * megahertz / 1e3 + 1
    loop.element_bytes, loop.cost = 8 * layout.MAX_OPERANDS, process.cost(100)
    assert ticks_of(loop, words, 2**60) >= ticks_of(loop, words, 10**9) > 0


CALLS = np.zeros(1, np.int64)
COUNTER = CALLS.ctypes.data  # a clock for the next test: what it counts is runs of a kernel


def counting_kernel(pieces, n, how):
    put(COUNTER, 0, load(COUNTER, 0) + 1)


@pytest.mark.parametrize("runs_a_tick", [1, 40, 3000])
def test_a_kernel_is_timed_to_a_hundredth_by_a_clock_that_ticks_seldom(monkeypatch, runs_a_tick):
    from rectifier.engine.runtime import driver

    kind = ir.IntType(64)
    monkeypatch.setattr(
        driver,
        "ticks",
        instructions.Instruction(lambda b: b.udiv(b.load(instructions.at(b, kind(COUNTER), kind)), kind(runs_a_tick))),
    )
    (kernel, measured), length = native(counting_kernel, driver.measure), 512
    loop = layout.LoopDescriptor.new()
    loop.kernel, loop.count, loop.length = ctypes.cast(kernel, ctypes.c_void_p).value, 2, length
    truth = 2**layout.FRACTION / (runs_a_tick * length)
    assert abs(measured(loop) - truth) <= 0.011 * truth + 1


def test_each_architecture_has_its_own_numbers_of_system_calls():
    from rectifier.engine.compiler import subset
    from rectifier.engine.runtime import threads

    engines = {}
    for name, kind in (("x86_64", target.host()), ("aarch64", ARM["linux"])):
        if kind.architecture == name:
            engines[name] = str(subset.optimised([threads._futex], kind).module)
    assert re.search(r"\(i64 98, ", engines["aarch64"])
    assert "x86_64" not in engines or re.search(r"\(i64 202, ", engines["x86_64"])


@pytest.mark.skipif(target.host().architecture != "x86_64", reason="the same code from both")
def test_another_process_makes_the_same_code():
    module = stored_sample.sample().module.clone()
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
from rectifier.engine.compiler import instructions, target; from rectifier.engine import choice, ufuncs
target.TESTED = ()
x = np.array([-1.0, 2.0], "f4")
"""


def test_where_llvm_cannot_make_the_engine_numpy_serves_and_says_so_once(tmp_path):
    run = run_python(
        UNTESTED + "from llvmlite import ir\n"
        "from rectifier.engine.runtime import threads\n"
        "threads.pause = instructions.Instruction(\n"
        "    lambda b: b.asm(ir.FunctionType(ir.VoidType(), []), 'pause', '', [], side_effect=True))\n"
        "from rectifier import gelu, relu, softmax\n"
        "with warnings.catch_warnings(record=True) as told:\n"
        "    warnings.simplefilter('always')\n"
        "    assert relu(x).tolist() == [0, 2] and relu.derivative(x).tolist() == [0, 1]\n"
        "    assert abs(gelu(x) - [-0.158655, 1.9545]).max() < 1e-5 and abs(softmax(x).sum() - 1) < 1e-6\n"
        "print(len(told), told[0].message, choice.engine())",
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
        "loops = [f.methods['value'].loops['float32'].compiled for f in (leaky_relu, relu)]\n"
        "print(len(made), len(told), choice.engine()[0], *map(bool, loops), told[0].message)",
        RECTIFIER_STORE=str(tmp_path),
    )
    expected = "4 1 llvm False True rectifier computes leaky_relu.value in float32 with NumPy"
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
        "print(len(told), choice.engine()[0])",
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
    ("system", "kind", "version"),
    [("darwin", "x86_64", 22), ("darwin", "arm64", 22), ("linux", "aarch64", 23), ("linux", "x86_64", 23)],
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
    assert emitted("linux", "x86_64", 22) == emitted("linux", "aarch64", 22) == b"here"
