"""The kernels of a GPU give what the CPU gives: on a host, compiled by g++, and on a GPU where there is one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cuda_host import INTEGRAL, SOME_INTEGERS

import rectifier
from conftest import BACKENDS, FLOATS, INTEGERS, assert_same, numbers, require_gpu_tier
from rectifier import testing
from rectifier.catalogue import ALL, CATALOGUE, GATES, ROWWISE
from rectifier.functions.specification import BACKWARD, VALUE

cupy = require_gpu_tier("cupy")

from rectifier.backends.cupy import launch, source  # noqa: E402

EXACT = [name for name in CATALOGUE if CATALOGUE[name].spec.ulp.float32 == 0]
MASKED = [name for name in EXACT if "mask" in CATALOGUE[name].spec.backward_from]
assert (len(EXACT), len(MASKED), len(INTEGRAL)) == (10, 9, 6)
REFERENCE = BACKENDS["numpy"]  # of functions that select, or round once: the same bits as the compiled engine


def data(dtype: np.dtype, seed: int = 0) -> np.ndarray:
    """Give all numbers of 16 bits, or special ones and as many random bits; in an order of their own."""
    rng = np.random.default_rng(seed)
    if dtype.itemsize == 2:
        x = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    else:
        bits = rng.integers(0, 1 << 8 * dtype.itemsize, 8000, dtype=f"u{dtype.itemsize}")
        near = (rng.standard_normal(8000) * 5).astype(dtype)
        x = np.concatenate([np.tile(testing.special_values(dtype), 40), bits.view(dtype), near])
    return rng.permutation(x)


def parameters(block, dtype: np.dtype, **given: float) -> tuple:
    """Round parameters as a call does."""
    return tuple(np.array(given.get(name, value)).astype(dtype) for name, value in block.parameters.items())


def compute(device, name: str, operation: str, arrays, settings=(), before: int = 0, dtype=None):
    """Run a operation without a mask, and give what it wrote."""
    block = ALL[name].spec
    found = block.operations[operation]
    dtype = dtype or arrays[0].dtype
    outs = tuple(device.array(np.zeros(arrays[0].shape, dtype), before) for _ in found.outputs)
    launch.run(block, found, dtype, tuple(device.array(a, before) for a in arrays), settings, outs)
    results = tuple(device.numpy(out) for out in outs)
    return results if len(results) > 1 else results[0]


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_results_are_those_of_the_cpu_bit_for_bit(device, name, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    function = getattr(REFERENCE if name in EXACT else rectifier, name)
    x, dy = data(dtype), data(dtype, 1)
    settings = parameters(function.spec, dtype)
    y, d = function(x), function.derivative(x)
    assert_same(compute(device, name, "value", (x,), settings), y)
    assert_same(compute(device, name, "derivative", (x,), settings), d)
    assert_same(compute(device, name, "backward", (dy, x), settings), function.backward(dy, x))
    for actual, expected in zip(compute(device, name, "value_and_derivative", (x,), settings), (y, d), strict=True):
        assert_same(actual, expected)


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_gated_results_are_those_of_the_cpu_bit_for_bit(device, name, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    function = getattr(rectifier if ALL[name].spec.wide else REFERENCE, name)
    dy, x, gate = (device.array(data(dtype, seed)) for seed in range(3))
    found = function.spec.operations
    y, dx, dgate = (device.array(np.zeros(x.shape, dtype)) for _ in range(3))
    numbers = (gate, *parameters(function.spec, dtype))
    launch.run(function.spec, found["value"], dtype, (x,), numbers, (y,))
    launch.run(function.spec, found["backward"], dtype, (dy, x), numbers, (dx, dgate))
    dy, x, gate = map(device.numpy, (dy, x, gate))
    assert_same(device.numpy(y), function(x, gate))
    for actual, expected in zip((dx, dgate), function.backward(dy, x, gate), strict=True):
        assert_same(device.numpy(actual), expected)


# Values of parameters that every integer dtype holds.
WHOLE = {"threshold": 2, "value": 3, "min_value": 1, "max_value": 100}


@pytest.mark.parametrize("name", INTEGRAL)
@pytest.mark.parametrize(
    "dtype_name", [name if name in SOME_INTEGERS else pytest.param(name, marks=pytest.mark.slow) for name in INTEGERS]
)
def test_integers_keep_their_dtype_and_wrap_as_on_the_cpu(device, name, dtype_name):
    dtype = np.dtype(dtype_name)
    function = getattr(rectifier, name)
    given = {p: WHOLE[p] for p in function.spec.parameters}
    x, dy = numbers(1000, dtype), numbers(1000, dtype, 1)
    settings = parameters(function.spec, dtype, **given)
    for operation, arrays in (("value", (x,)), ("derivative", (x,)), ("backward", (dy, x))):
        call = function if operation == "value" else getattr(function, operation)
        assert_same(compute(device, name, operation, arrays, settings), call(*arrays, **given))


@pytest.mark.parametrize("dtype_name", ["int8", "float16", "float32", "float64"])
def test_any_length_and_alignment_gives_the_same_and_writes_nothing_else(device, dtype_name):
    dtype = np.dtype(dtype_name)
    vector = 16 // dtype.itemsize
    block, operation = rectifier.relu.spec, rectifier.relu.spec.operations["backward"]
    x, dy = numbers(400, dtype), numbers(400, dtype, 1)
    expected = REFERENCE.relu.backward(dy, x)
    places = [(k, k, k) for k in range(vector)] + [(0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 2)]
    cases = 0
    for n in [*range(2 * vector + 3), *range(60, 71), 400]:
        for at_dy, at_x, at_dx in places if n <= 2 * vector + 2 else places[:2]:
            memory = device.array(np.full(n + 2 * vector, 77, dtype))
            dx = memory[at_dx : at_dx + n]
            launch.run(block, operation, dtype, (device.array(dy[:n], at_dy), device.array(x[:n], at_x)), (), (dx,))
            result = device.numpy(memory)
            assert_same(result[at_dx : at_dx + n], expected[:n])
            assert (np.delete(result, slice(at_dx, at_dx + n)) == 77).all()
            cases += 1
    assert cases > 60


@pytest.mark.parametrize("dtype_name", FLOATS)
def test_in_place(device, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    x, dy = data(dtype)[:1001], data(dtype, 1)[:1001]
    found = rectifier.relu.spec.operations
    y, dx = device.array(x), device.array(dy)
    launch.run(rectifier.relu.spec, found["backward"], dtype, (dx, y), (), (dx,))
    launch.run(rectifier.relu.spec, found["value"], dtype, (y,), (), (y,))
    assert_same(device.numpy(dx), REFERENCE.relu.backward(dy, x))
    assert_same(device.numpy(y), REFERENCE.relu(x))


def test_arrays_in_fortran_order_are_run_as_they_lie(device):
    x = numbers(60, np.dtype("f4")).reshape(6, 10)
    turned, y = device.array(x).T, device.array(np.zeros_like(x)).T
    launch.run(rectifier.relu.spec, VALUE, x.dtype, (turned,), (), (y,))
    assert_same(device.numpy(y), REFERENCE.relu(x.T))


@pytest.mark.parametrize("name", MASKED)
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_masks_are_those_of_the_cpu(device, name, dtype_name):
    dtype = testing.dtype_of(dtype_name)
    function, block = getattr(REFERENCE, name), ALL[name].spec
    settings = parameters(block, dtype)
    for n in (*range(70), 127, 128, 129, 1001) if name == "relu" else (1001,):
        x, dy = data(dtype)[:n], data(dtype, 1)[:n]
        y, mask = function.with_mask(x)
        room = device.array(np.full((n + 31) // 32 * 4 + 4, 0xAA, np.uint8))
        bits, out = room[: (n + 7) // 8], device.array(np.full(n + 1, 77).astype(dtype))
        launch.run_with_mask(block, dtype, (device.array(x),), settings, out[:n], bits)
        assert_same(device.numpy(out)[:n], y)
        assert device.numpy(out)[n] == 77
        assert_same(device.numpy(bits), mask.bits)
        written = device.numpy(room)
        assert (written[(n + 31) // 32 * 4 :] == 0xAA).all()
        assert not written[(n + 7) // 8 : (n + 31) // 32 * 4].any()
        for before in range(3) if name == "relu" else (0,):
            dx = device.array(np.zeros(n, dtype), before)
            launch.run_from_mask(block, dtype, device.array(dy, before), device.array(mask.bits), settings, dx)
            assert_same(device.numpy(dx), function.backward(dy, mask=mask))


@pytest.mark.parametrize("dtype_name", ["int8", "uint64"])
def test_masks_of_integers_are_those_of_the_cpu(device, dtype_name):
    dtype = np.dtype(dtype_name)
    x, dy = numbers(1003, dtype), numbers(1003, dtype, 1)
    y, mask = REFERENCE.relu.with_mask(x)
    out, bits = device.array(np.zeros_like(x)), device.array(np.zeros(128, np.uint8))
    launch.run_with_mask(rectifier.relu.spec, dtype, (device.array(x),), (), out, bits)
    assert_same(device.numpy(out), y)
    assert_same(device.numpy(bits)[: (1003 + 7) // 8], mask.bits)
    for before in range(16):
        dx = device.array(np.zeros_like(dy), before)
        launch.run_from_mask(rectifier.relu.spec, dtype, device.array(dy, before), device.array(mask.bits), (), dx)
        assert_same(device.numpy(dx), REFERENCE.relu.backward(dy, mask=mask))


@pytest.mark.parametrize(("name", "dtype_name"), [("relu", "int8"), ("relu", "float16"), ("leaky_relu", "bfloat16")])
def test_functions_of_sums_are_those_of_the_cpu(device, name, dtype_name):
    """The sum is rounded to the dtype, or wraps, before the function."""
    dtype = testing.dtype_of(dtype_name)
    dy, x, b = (numbers(1008, dtype, seed).reshape(21, 48) for seed in range(3))
    function = ALL[name].of_sum
    spec, given = function.spec, parameters(ALL[name].spec, dtype)
    y, dx, db = (device.array(np.zeros_like(x)) for _ in range(3))
    other = b if dtype_name == "int8" else b[3]  # one row for all
    launch.run(spec, spec.operations["value"], dtype, tuple(map(device.array, (x, other))), given, (y,))
    assert_same(device.numpy(y), function(x, other))
    if dtype_name != "float16":
        return
    launch.run(spec, spec.operations["backward"], dtype, tuple(map(device.array, (dy, x, b))), given, (dx, db))
    with np.errstate(all="ignore"):
        expected = ALL[name].backward(dy, x + b)
    for result in (dx, db):
        assert_same(device.numpy(result), expected)
    bits = device.array(np.zeros(128, np.uint8))
    launch.run_with_mask(spec, dtype, (device.array(x), device.array(b)), given, y, bits)
    expected, mask = function.with_mask(x, b)
    assert_same(device.numpy(y), expected)
    assert_same(device.numpy(bits)[:126], mask.bits)


def test_arrays_of_parameters(device):
    x, dy = numbers(1001, np.dtype("f4")), numbers(1001, np.dtype("f4"), 1)
    slope = np.random.default_rng(0).random(1001, "f4")
    block, function = rectifier.leaky_relu.spec, REFERENCE.leaky_relu
    y, mask = function.with_mask(x, negative_slope=slope)
    given = (device.array(slope),)
    assert_same(compute(device, "leaky_relu", "value", (x,), given), y)
    expected = function.backward(dy, x, negative_slope=slope)
    assert_same(compute(device, "leaky_relu", "backward", (dy, x), given), expected)
    out, bits = device.array(np.zeros_like(x)), device.array(np.zeros(128, np.uint8))
    launch.run_with_mask(block, x.dtype, (device.array(x),), given, out, bits)
    assert_same(device.numpy(out), y)
    assert_same(device.numpy(bits)[:126], mask.bits)
    dx = device.array(np.zeros_like(x))
    launch.run_from_mask(block, x.dtype, device.array(dy), bits, given, dx)
    assert_same(device.numpy(dx), function.backward(dy, mask=mask, negative_slope=slope))
    tiled = np.broadcast_to(np.float32(0.25), (1,))
    launch.run_from_mask(block, x.dtype, device.array(dy), bits, (device.array(tiled),), dx)
    again = REFERENCE.Mask(mask.bits, mask.shape, mask.function, {"negative_slope": 0.25})
    assert_same(device.numpy(dx), function.backward(dy, mask=again, negative_slope=0.25))


@pytest.mark.parametrize("dtype_name", ["float16", "float32"])
def test_halves_of_an_array_and_one_slope_a_channel_are_rows(device, dtype_name):
    """Each in one launch over vectors, wherever the halves begin, of as many rows as there are leading elements."""
    dtype, rng = np.dtype(dtype_name), np.random.default_rng(3)
    for shape, before in (((2, 3, 32), 0), ((7, 48), 1), ((1, 16), 3)):
        packed, dy = rng.standard_normal(shape).astype(dtype), rng.standard_normal((*shape[:-1], shape[-1] // 2))
        dy, columns = dy.astype(dtype), shape[-1] // 2
        there, y = device.array(packed, before), device.array(np.zeros_like(dy))
        halves = there[..., :columns], there[..., columns:]
        swiglu, prelu = rectifier.swiglu, rectifier.prelu
        launch.run(swiglu.spec, swiglu.spec.operations["value"], dtype, halves[:1], halves[1:], (y,))
        x, gate = np.ascontiguousarray(packed[..., :columns]), np.ascontiguousarray(packed[..., columns:])
        assert_same(device.numpy(y), swiglu(x, gate))
        gradient = device.array(np.full_like(packed, 7), before)
        outs = gradient[..., :columns], gradient[..., columns:]
        backward = swiglu.spec.operations["backward"]
        launch.run(swiglu.spec, backward, dtype, (device.array(dy), halves[0]), halves[1:], outs)
        assert_same(device.numpy(gradient), np.concatenate(swiglu.backward(dy, x, gate), axis=-1))
        slope = rng.uniform(0, 1, columns).astype(dtype)
        launch.run(prelu.spec, prelu.spec.operations["value"], dtype, halves[:1], (device.array(slope, before),), (y,))
        assert_same(device.numpy(y), prelu(x, slope))


def test_what_has_gaps_or_parts_of_vectors_is_no_rows():
    a = np.zeros((4, 6, 32), "f4")
    steps = launch.steps_of_rows
    assert steps([a[:, :, :16], a[:, :, 16:], np.zeros(16, "f4"), a[:, :, :16].copy()], (4, 6, 16), 4) == [
        32,
        32,
        0,
        16,
    ]
    assert steps([a[:, ::2]], (4, 3, 32), 4) == [64]
    assert steps([a[1:2]], (1, 6, 32), 4) == [32]
    for other, shape, at_once in (
        (a[:, :3], (4, 3, 32), 4), (a.transpose(1, 0, 2), (6, 4, 32), 4), (a[:, :1], (4, 6, 32), 4),
        (a[..., ::2], (4, 6, 16), 4), (a[..., :1], (4, 6, 32), 4), (a[..., :18], (4, 6, 18), 4), (a[0, 0], (32,), 4),
        (a[..., :20], (4, 6, 20), 8),
    ):  # fmt: skip
        assert steps([other], shape, at_once) is None


@pytest.mark.parametrize("name", [name for name in CATALOGUE if CATALOGUE[name].spec.parameters])
def test_parameters_are_not_the_defaults(device, name):
    x, dy = data(np.dtype("f4"))[:2000], data(np.dtype("f4"), 1)[:2000]
    function = getattr(REFERENCE if name in EXACT else rectifier, name)
    given = {p: {"min_value": -2.0, "negative_slope": 0.3}.get(p, 1.75) for p in function.spec.parameters}
    settings = parameters(function.spec, x.dtype, **given)
    assert_same(compute(device, name, "value", (x,), settings), function(x, **given))
    assert_same(compute(device, name, "backward", (dy, x), settings), function.backward(dy, x, **given))


def test_reciprocals_and_quotients_are_rounded_once(host):
    """Of every significand, though what a GPU is nearly sure of is off by a unit for half of them; -0.0 stays."""
    import ctypes

    from cuda_host import build

    text = """
extern "C" __global__ void divided(const float *x, const float *y, float *r, float *q, const long long n) {
    for (long long i = thread_of_grid(); i < n; i += threads_of_grid())
        r[i] = reciprocal(y[i]), q[i] = quotient(x[i], y[i]);
}
"""
    kernel = build(source.program(source.Part("divided", text)), "divided").host_divided
    rng = np.random.default_rng(8)
    y = np.arange(0x3F800000, 0x40000000, dtype="u4").view("f4") * np.float32(2) ** rng.integers(-1, 100, 1 << 23)
    y = y.astype("f4")
    x = rng.permutation(y) * rng.choice(np.array([-0.5, 0.0, -0.0, 1.0], "f4"), y.size)
    r, q, n = np.zeros_like(y), np.zeros_like(y), ctypes.c_longlong(y.size)
    held = [ctypes.c_void_p(a.ctypes.data) for a in (x, y, r, q)]
    kernel(1, 32, 0, (ctypes.c_void_p * 5)(*map(ctypes.addressof, (*held, n))))
    assert_same(r, 1 / y)
    assert_same(q, x / y)


def test_nothing_is_launched_for_empty_arrays(device, monkeypatch):
    monkeypatch.setattr(launch, "launch", None)
    empty = device.array(np.zeros((3, 0), "f4"))
    launch.run(rectifier.relu.spec, VALUE, "float32", (empty,), (), (empty,))
    launch.run_with_mask(rectifier.relu.spec, "float32", (empty,), (), empty, device.array(np.zeros(0, np.uint8)))
    launch.run_from_mask(rectifier.relu.spec, "float32", empty, device.array(np.zeros(0, np.uint8)), (), empty)
    launch.run_rows(ROWWISE["softmax"].spec, False, "float32", (empty,), empty)


def test_a_kernel_is_made_once(host, monkeypatch):
    host.install(monkeypatch)
    made = []
    monkeypatch.setattr(cupy, "RawKernel", lambda *arguments: made.append(arguments) or host.raw_kernel(*arguments))
    launches = host.launches
    for n in (10, 20, 30):
        compute(host, "relu", "value", (np.ones(n, "f4"),))
    assert (len(made), host.launches - launches) == (1, 3)


@pytest.mark.gpu
@pytest.mark.parametrize("dtype_name", FLOATS)
def test_strided_and_broadcast_arrays_give_the_same_bits(dtype_name):
    require_gpu_tier("gpu")
    dtype, block = testing.dtype_of(dtype_name), rectifier.leaky_relu.spec
    x, dy = data(dtype)[:4096].reshape(64, 64), data(dtype, 1)[:64]
    dx = cupy.zeros((64, 64), dtype)
    slope = parameters(block, dtype)
    launch.run(block, BACKWARD, dtype, (cupy.asarray(dy), cupy.asarray(x)[::-1].T), slope, (dx,))
    assert_same(dx.get(), REFERENCE.leaky_relu.backward(np.broadcast_to(dy, (64, 64)), x[::-1].T))


@pytest.mark.slow
def test_the_address_and_undefined_behaviour_sanitizers_find_nothing(tmp_path):
    """On a few functions, of each kind of kernel, in a process of their own."""
    chosen = "(relu6 or reglu or silu or softmax or alignment) and not log_softmax and not bfloat16 and not float64"
    library = subprocess.run(["g++", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    environment = os.environ | {
        "LD_PRELOAD": library, "RECTIFIER_GPU_SANITIZED": "1",
        "ASAN_OPTIONS": "detect_leaks=0:detect_stack_use_after_return=0", "UBSAN_OPTIONS": "print_stacktrace=1",
    }  # fmt: skip
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-s", "-m", "not slow and not gpu", "-k", chosen, __file__]
    run = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=900, cwd=Path(__file__).parent
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
