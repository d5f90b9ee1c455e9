"""What is compiled for AArch64 to see whether LLVM can: in a process of its own, which may end."""

from __future__ import annotations

import rectifier
from conftest import FLOATS, INTEGERS
from rectifier import relu
from rectifier.engine import elf, store
from rectifier.engine.compiler import optimise, target
from rectifier.engine.compiler.instructions import (
    enter_default_floating_point,
    leave_default_floating_point,
    pause,
    ticks,
)
from rectifier.functions import specification

EVERY = (*INTEGERS, *FLOATS)
ARM = {
    "linux": target.Target("aarch64-unknown-linux-gnu", "generic", ""),
    "mac": target.Target("arm64-apple-darwin23.0.0", "apple-m1", ""),
    "sve": target.Target("aarch64-unknown-linux-gnu", "neoverse-v2", "+neon,+lse,+sve,+sve2"),
}


def wait():
    pause()
    return ticks()


def around():
    saved = enter_default_floating_point()
    leave_default_floating_point(saved)


def operations():
    """List the operations of every function of elements: its block, and the operation."""
    from rectifier.catalogue import CATALOGUE

    for function in CATALOGUE.values():
        for method in function.methods.values():
            yield function.spec, method.operation


def some_kernels():
    """List kernels so that each operation, each way to compute, and each dtype is among them."""
    every = {operation.name for _, operation in operations()}
    chosen = {"relu": every, "leaky_relu": {"backward"}, "silu": {"value", "backward"},
              "swiglu": {"backward"}}  # fmt: skip
    cases = [case for case in operations() if case[1].name in chosen.get(case[0].name, ())]
    assert {operation.name for _, operation in cases} == every
    yield from ((*case, FLOATS[k % len(FLOATS)]) for k, case in enumerate(cases))
    yield from ((relu.spec, specification.VALUE, dtype) for dtype in ("bfloat16", "uint8"))


def all_kernels():
    yield from ((*case, dtype) for case in operations() for dtype in FLOATS)
    yield from ((block, operation, dtype) for block, operation in operations() for dtype in INTEGERS if block.selects)


def shared_modules():
    """Compile for AArch64 what every call needs, the casts, and rows; with what each is for."""
    from rectifier.engine import memory, process
    from rectifier.engine.compiler import casts, crossentropy, lookup, rowkernels, rowoptions

    arm, every = ARM["linux"], tuple(ARM.values())
    yield "engine", process.build("call", arm), every
    yield "calls of rows", process.build("call_rows", arm), every
    yield "pool", memory.build(arm), every
    for inputs in (1, 2):
        yield f"look-ups of {inputs}", lookup.compile_kernel(inputs, arm), every
    for k, source in enumerate(EVERY):
        to = next(to for to in reversed(EVERY) if casts.exists(source, to))
        yield f"cast from {source} to {to}", casts.build(source, k % 2 == 0, to, arm), every
    for gradient, dtype in (False, "float64"), (True, "bfloat16"):
        yield f"cross-entropy in {dtype}", crossentropy.compile_kernel(gradient, dtype, arm), every
    for function, backward, dtype in (rectifier.softmax, False, "float16"), (rectifier.log_softmax, True, "float32"):
        yield f"rows in {dtype}", rowkernels.compile_kernel(function.spec, backward, dtype, arm), every
        yield f"rows with options in {dtype}", rowoptions.compile_kernel(function.spec, backward, dtype, arm), every


def modules_of(cases):
    """Compile kernels for AArch64, every other one with SVE."""
    from rectifier.engine.compiler import kernels

    for k, (block, operation, dtype) in enumerate(cases):
        kinds = (ARM["sve"],) if k % 2 else tuple(ARM.values())
        compiled = kernels.compile_kernel(block, operation, dtype, kinds[0])
        yield f"{block.name}.{operation.name} in {dtype}", compiled, kinds


def emit_all(modules):
    """Emit them for each kind of AArch64: where LLVM cannot, this process ends."""
    for name, built, kinds in modules:
        print(name, flush=True)
        for arm in kinds:
            module = built.module.clone()
            module.triple, module.data_layout = arm.triple, str(arm.machine().target_data)
            code = optimise.object_of(module, arm)
            assert len(code) > 300
            if elf.is_elf(code):
                defined, undefined = elf.symbols(code)
                assert defined == {optimise.PREFIX + function for function in built.names}
                assert undefined <= store.MAY_CALL, undefined


def assemble(*functions):
    """Give the assembly of translated functions on AArch64."""
    from rectifier.engine.compiler import subset

    return ARM["linux"].machine().emit_assembly(subset.optimised(functions, ARM["linux"]).module)
