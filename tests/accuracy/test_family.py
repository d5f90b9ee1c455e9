"""What every function of the catalogue promises of its values, in every operation, dtype and engine."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from fractions import Fraction

import mpmath
import numpy as np
import pytest

import rectifier
from conftest import BACKENDS, assert_same, numbers, others, package_of
from rectifier import settings
from rectifier.catalogue import CATALOGUE
from rectifier.engine import process
from rectifier.testing import (
    bound,
    check_algebra,
    check_backward,
    check_points,
    dtype_of,
    exact,
    special_values,
)


def is_compiled(member) -> bool:
    return package_of(member) is rectifier


def test_what_the_blocks_allow_is_little():
    for activation in CATALOGUE.values():
        block = activation.spec
        assert max(block.ulp) <= 2
        if block.wide:
            assert block.single + block.full == (block.name != "snake")  # of the sine there is no form in float32
            assert block.ulp.float32 in (0.6, 1)
            assert block.ulp.float32_derivative == block.ulp.float32


# Special values ----------------------------------------------------------------------------------------------------


def test_special_values_and_kinks_are_as_the_block_says(member, dtype):
    block = member.spec
    special = {repr(x): y for x, y in block.special}
    assert {"nan", "inf", "-inf"} <= set(special)
    for x, y in block.special:
        at = np.array([x]).astype(dtype)
        assert_same(member(at), np.array([y]).astype(dtype))
        assert_same(member.value_and_derivative(at)[0], np.array([y]).astype(dtype))
    for x, d in block.kinks:
        for zero_of_either_sign in (x, -x) if x == 0 else (x,):
            at, slope = np.array([zero_of_either_sign]).astype(dtype), np.array([d]).astype(dtype)
            assert_same(member.derivative(at), slope)
            assert_same(member.value_and_derivative(at)[1], slope)
            assert_same(member.backward(np.ones_like(at), at), slope)


def test_nan_propagates(member, dtype):
    x = np.array([math.nan, -math.nan] * 20).astype(dtype)
    for dy in (np.ones_like(x), np.zeros_like(x), x):
        assert np.isnan(member.backward(dy, x)).all()
    for result in (member(x), member.derivative(x), *member.value_and_derivative(x), member.vjp(x)[0]):
        assert np.isnan(result).all()


def test_no_call_warns_or_raises_floating_point_flags(member, dtype):
    x = special_values(dtype)
    with np.errstate(all="raise"):
        member(x)
        member.derivative(x)
        member.backward(x, x[::-1])
        member.value_and_derivative(x)
        member.vjp(x)[1](x)
        member(x[::3])
        for parameters in others(member):
            member(x, **parameters)
            member.derivative(x, **parameters)


def test_formulas_are_the_textbook_forms(member):
    check_algebra(member)


# Every value of 16 bits ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_all_16_bit_values_are_rounded_once(member, name):
    dtype = dtype_of(name)
    assert bound(member.spec, dtype) <= 0.51
    x = np.arange(1 << 16, dtype=np.uint16).view(dtype)
    with np.errstate(invalid="ignore"):  # ml_dtypes warns of a signalling NaN
        assert check_points(member, x) > 2 * 60_000
        for parameters in others(member):
            assert check_points(member, x[::7], **parameters) > 2 * 8_000


# float32 and float64 -------------------------------------------------------------------------------------------------


def places(block) -> list[float]:
    """List where a function changes: kinks, zeros, where exponentials are lost in 1, subnormal, infinite."""
    found = {0.0, *(x for x, _ in block.kinks if math.isfinite(x)), *block.zeros, *block.crossings}
    found |= {sign * x for sign in (-1, 1) for x in (0.5, 1, 3, 6, 9, 13, 17, 18.7, 37, 40, 87.3, 88.7, 104, 1000)}
    return sorted(found)


def near(x: float, dtype: np.dtype, steps: int) -> np.ndarray:
    """Give a number and its neighbours."""
    unsigned = np.dtype(f"u{dtype.itemsize}")
    middle = np.array(x).astype(dtype)
    magnitude = np.abs(middle).view(unsigned).astype(np.int64) + np.arange(-steps, steps + 1)
    return np.copysign(magnitude[magnitude >= 0].astype(unsigned).view(dtype), middle)


def float32_points(block, count: int) -> np.ndarray:
    rng = np.random.default_rng(8)
    dtype, part = np.dtype("f4"), count // 8
    return np.concatenate([
        special_values(dtype),
        rng.integers(0, 1 << 32, 2 * part, np.uint32).view(dtype),
        (rng.uniform(-20, 20, 2 * part)).astype(dtype),
        (rng.standard_normal(part) * np.exp(rng.uniform(-9, 0, part))).astype(dtype),
        rng.uniform(-110, -80, part).astype(dtype),
        rng.uniform(80, 110, part).astype(dtype),
        *[near(x, dtype, part // 60) for x in places(block)],
        *[(x + rng.uniform(-1, 1, part // 60) * 0.01).astype(dtype) for x in places(block)],
    ])  # fmt: skip


def test_float32_is_within_the_bound(member):
    x = float32_points(member.spec, 200_000 if is_compiled(member) else 20_000)
    with np.errstate(invalid="ignore"):
        assert check_points(member, x) > 1.9 * len(x)
        for parameters in others(member):
            assert check_points(member, x[::2], **parameters) > 0.9 * len(x)


def float64_points(block, parts: int) -> np.ndarray:
    rng = np.random.default_rng(64)
    dtype = np.dtype("f8")
    edges = [36.7, 37.5, 38.5, 708.3, 709.8, 745.1, 746, 1000, 1e154, 1e300]
    return np.concatenate([
        special_values(dtype),
        *[near(x, dtype, parts // 50) for x in (*places(block), *edges, *(-x for x in edges))],
        rng.uniform(-6, 6, 3 * parts),
        rng.uniform(-40, 40, parts),
        rng.uniform(-760, -700, parts),  # results of exponentials that are subnormal, or nearly
        rng.choice([-1, 1], parts) * np.exp(rng.uniform(-750, 700, parts)),
        *[x + rng.choice([-1, 1], parts // 10) * np.exp(rng.uniform(-35, 0, parts // 10)) for x in places(block)],
    ])  # fmt: skip


def test_float64_is_within_the_bound(member):
    block = member.spec
    if not is_compiled(member) and block.ulp.float32:
        pytest.skip("test_engines says how near the NumPy engine is")
    x = float64_points(block, 150)
    assert len(x) > 1500
    assert check_points(member, x) > 1.8 * len(x)
    for parameters in others(member):
        beta = parameters.get("beta", 1)
        with np.errstate(over="ignore"):
            part = np.concatenate([x[::3], x[x != 0][::9] / beta])
            scaled = part * beta
        for zero in block.zeros if [*block.parameters] == ["beta"] else ():  # where silu's is, for this beta
            close = np.abs(scaled - zero) < 0.1
            for v, d in zip(part[close].tolist(), member.derivative(part[close], **parameters).tolist(), strict=True):
                assert abs(d - exact(block, v, [beta])[1]) < 2.0**-52
            part, scaled = part[~close], scaled[~close]
        assert check_points(member, part, **parameters) > 0.7 * len(x)


def test_infinity_gives_the_limit_and_only_nan_gives_nan(member, dtype):
    x = special_values(dtype)
    x = x[~np.isnan(x)]
    infinite, largest = x[np.isinf(x)], np.array([1, -1], dtype) * np.max(x[np.isfinite(x)])
    for parameters in ({}, *others(member)):
        for result in (
            *member.value_and_derivative(x, **parameters),
            member.backward(np.ones_like(x), x, **parameters),
        ):
            assert not np.isnan(result).any(), (parameters, x[np.isnan(result)])
        for y, near in zip(
            member(infinite, **parameters).tolist(), member(largest, **parameters).tolist(), strict=True
        ):
            grows = abs(near) > 100
            assert y == math.copysign(math.inf, near) if grows else abs(y - near) < 1e-4, parameters


def test_squareplus_with_b_0_is_the_relu(dtype):
    x = np.concatenate([special_values(dtype), np.linspace(-9, 9, 99).astype(dtype)])
    for package in BACKENDS.values():
        assert_same(package.squareplus(x, b=0), package.relu(x))
        assert_same(package.squareplus.derivative(x, b=0), package.relu.derivative(x))


def test_squareplus_of_a_b_that_is_no_number_is_none_for_any_x(dtype):
    x = np.concatenate([np.linspace(-3, 3, 7), [1e4, -1e4], *([[3e38, -3e38, 1e20]] if dtype != np.float16 else [])])
    for package in BACKENDS.values():
        for b in (np.nan, -np.inf):
            with np.errstate(invalid="ignore"):
                assert np.isnan(package.squareplus(x.astype(dtype), b=b)).all()
                assert np.isnan(package.squareplus.derivative(x.astype(dtype), b=b)).all()


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_squareplus_has_its_bound_for_b_of_any_magnitude(dtype_name):
    """Also where x^2 or b is infinite or nothing in the dtype."""
    dtype, rng, checked = np.dtype(dtype_name), np.random.default_rng(0), 0
    top = np.finfo(dtype).maxexp
    for exponent in np.linspace(2 - top - np.finfo(dtype).nmant, top - 1, 40):
        b, root = dtype.type(2.0**exponent * rng.uniform(0.5, 1)), 2.0 ** (exponent / 2)
        near, any_x = rng.standard_normal(4) * root, rng.choice([-1, 1], 4) * 2.0 ** rng.uniform(2 - top, top - 1, 4)
        x = np.concatenate([near, near * 2.0 ** rng.uniform(-30, 30), any_x]).astype(dtype)
        checked += check_points(rectifier.squareplus, x[np.isfinite(x)], b=b)
    assert checked > 2 * 40 * 8
    x = rng.standard_normal(200).astype(dtype)
    for left in (1, 0.9999, 0.5):  # of x^2: less than nothing may leave little of it
        b = (-left * x.astype(np.float64) ** 2).astype(dtype)
        real = [k for k in range(x.size) if Fraction(float(x[k])) ** 2 + Fraction(float(b[k])) > 0]
        for k in real:
            checked += check_points(rectifier.squareplus, x[k : k + 1], b=b[k])
        assert left == 1 or len(real) == x.size
    far = np.array([1e18, -1e18] if dtype == np.float32 else [1e151, -1e151], dtype)
    b = dtype.type(1e38 if dtype == np.float32 else 1e308)
    assert check_points(rectifier.squareplus, far, b=b)


def next_to_zeros_of_snake(dtype: np.dtype) -> list[float]:
    """List numbers m 2^e next to odd quarters of pi: m is a denominator in the continued fraction of 2^(e + 2) / pi."""
    found, bits = [], np.finfo(dtype).nmant + 1
    for exponent in range(0, np.finfo(dtype).maxexp - bits, 7):
        with mpmath.workdps(420):
            rest = mpmath.ldexp(1, exponent + 2) / mpmath.pi
            (p, m), last = (int(rest), 1), (1, 0)
            while m < 2**bits:
                if p % 2 and m > 2 ** (bits // 2):
                    found.append(math.ldexp(m if p % 4 == 3 else -m, exponent))
                rest = 1 / (rest - int(rest))
                (p, m), last = (int(rest) * p + last[0], int(rest) * m + last[1]), (p, m)
    assert len(found) > 20
    return found


@pytest.mark.parametrize("dtype_name", ["float32", "float64"])
def test_the_derivative_of_snake_has_its_digits_next_to_its_zeros_for_any_x(dtype_name):
    """In float64 there is still a unit in the last place of what the distance to the zero is taken from."""
    dtype = np.dtype(dtype_name)
    x = np.array(next_to_zeros_of_snake(dtype), dtype)
    for at, result in zip(x.tolist(), rectifier.snake.derivative(x).tolist(), strict=True):
        with mpmath.workdps(420):
            truth = 1 + mpmath.sin(2 * mpmath.mpf(at))
            assert 0 < truth < 2.0 ** -(np.finfo(dtype).nmant - 4), at
            assert abs(result / truth - 1) < (2.0**-24 if dtype == np.float32 else 2.0**-40), at


# Backward ------------------------------------------------------------------------------------------------------------


def test_backward_is_a_selection_or_a_product(member, dtype):
    x = special_values(dtype)
    near_zeros = [zero + step for zero in member.spec.zeros for step in (-0.1, 0, 0.1)]
    x = np.concatenate([x, np.array([-20, -9, -1.25, -0.75, 0.25, 1.5, 9, 20, *near_zeros]).astype(dtype)])
    if not is_compiled(member) and member.spec.wide and dtype == np.float64:
        x = special_values(dtype)
    check_backward(member, x)
    for parameters in others(member):
        check_backward(member, x, **parameters)


@pytest.mark.parametrize("source", ["y", "mask"])
def test_backward_is_from_what_determines_it(member, dtype, source):
    block = member.spec
    x = np.concatenate([special_values(dtype), np.linspace(-9, 9, 333).astype(dtype)])
    dy = x[::-1].copy()
    if source in block.backward_from:
        if source == "y":
            given, expected = {"y": member(x)}, member.backward(dy, x)
        else:  # one bit: at NaN, dy passes
            given, expected = {"mask": member.with_mask(x)[1]}, np.where(np.isnan(x), dy, member.backward(dy, x))
        assert_same(member.backward(dy, **given), expected)
        return
    instead = " or ".join(f"{name}=" for name in block.backward_from)
    refusal = rf"{block.name}.*: {source} does not determine the derivative of {block.name}; pass {instead}$"
    given = {"y": x} if source == "y" else {"mask": package_of(member).relu.with_mask(x)[1]}
    with pytest.raises(TypeError, match=refusal):
        member.backward(dy, **given)
    if source == "mask":
        with pytest.raises(TypeError, match=refusal):
            member.with_mask(x)


# Position ------------------------------------------------------------------------------------------------------------


def calls(member, **parameters):
    yield lambda dy, x: member(x, **parameters)
    yield lambda dy, x: member.derivative(x, **parameters)
    yield lambda dy, x: member.backward(dy, x, **parameters)


def misaligned(x: np.ndarray) -> np.ndarray:
    there = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype)
    there[:] = x
    return there


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
def test_element_does_not_depend_on_length_or_layout(member, name):
    n = 70
    whole = np.concatenate([special_values(name), np.random.default_rng(5).uniform(-9, 9, n).astype(name)])[-n - 9 :]
    gradients = np.random.default_rng(6).standard_normal(len(whole)).astype(name)
    for call in calls(member):
        expected = call(gradients, whole)
        one_by_one = [call(gradients[i : i + 1], whole[i : i + 1]) for i in range(len(whole))]
        assert_same(np.concatenate(one_by_one), expected)
        for length in range(n + 1):
            assert_same(call(gradients[:length], whole[:length]), expected[:length])
        for there in (
            lambda x: x[::-1].copy()[::-1],
            lambda x: np.repeat(x, 3)[::3],
            misaligned,
            lambda x: x.astype(x.dtype.newbyteorder()),
            lambda x: x[:, None].repeat(3, 1)[:, 1],
        ):
            assert_same(call(there(gradients), there(whole)), expected)


@pytest.fixture
def shared_and_past_the_caches():
    """Let every call be shared, where there are threads to share it, and its results go past the caches."""
    words = process.words()
    settings.threads = max(2, settings.threads)
    before = words.read("start_from", "wake_from", "parallel_from", "stream_from", "learn_from")
    words.write(**dict.fromkeys(before, 0))
    words.stream_from, words.learn_from = 1, 1 << 62
    yield words
    words.write(**before)


@pytest.mark.parametrize("name", ["float16", "float32", "float64"])
@pytest.mark.parametrize("activation_name", CATALOGUE)
def test_element_does_not_depend_on_chunk_thread_or_cache(activation_name, name, shared_and_past_the_caches):
    activation = CATALOGUE[activation_name]
    short = np.concatenate([special_values(name), np.random.default_rng(5).uniform(-9, 9, 41).astype(name)])
    dy = np.random.default_rng(6).standard_normal(len(short)).astype(name)
    with_defaults = {k: np.full(20_011, v, name) for k, v in activation.spec.parameters.items()}
    for call, with_arrays in zip(calls(activation), calls(activation, **with_defaults), strict=True):
        expected = np.resize(call(dy, short), 20_011)
        gradients, x = np.resize(dy, 20_011), np.resize(short, 20_011)
        assert_same(call(gradients, x), expected)
        assert_same(with_arrays(gradients, x), expected)
        shared_and_past_the_caches.stream_from = 1 << 62
        assert_same(call(gradients, x), expected)
        shared_and_past_the_caches.stream_from = 1


def test_calls_that_do_two_things_do_each(member, dtype):
    x = np.concatenate([special_values(dtype), np.random.default_rng(7).uniform(-20, 20, 5000).astype(dtype)])
    dy = x[::-1].copy()
    for parameters in ({}, *others(member)):
        y, d = member.value_and_derivative(x, **parameters)
        assert_same(y, member(x, **parameters))
        assert_same(d, member.derivative(x, **parameters))
        y, pullback = member.vjp(x, **parameters)
        assert_same(y, member(x, **parameters))
        dx = member.backward(dy, x, **parameters)
        assert_same(pullback(dy), np.where(np.isnan(x), dy, dx) if "mask" in member.spec.backward_from else dx)


# Integers ------------------------------------------------------------------------------------------------------------


def fits(value: float, dtype: np.dtype) -> bool:
    return value == int(value) and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max


@pytest.mark.parametrize("name", ["int8", "uint8", "int32", "uint64"])
def test_integers_stay_where_the_value_is_one_of_them(member, name):
    dtype = np.dtype(name)
    x = np.concatenate([numbers(100, dtype), np.array([0, 1, 2, 3, 6, 7], dtype)])
    block = member.spec
    float_dtype = np.exp(x[-6:-5]).dtype
    for parameters in ({}, *others(member), dict.fromkeys(block.parameters, 2)):
        given = block.parameters | parameters
        kept = block.selects and all(fits(value, dtype) for value in given.values())
        expected = dtype if kept else float_dtype
        y, d = member.value_and_derivative(x, **parameters)
        results = [
            member(x, **parameters),
            member.derivative(x, **parameters),
            member.backward(x, x, **parameters),
            y,
            d,
        ]
        if "mask" in block.backward_from:
            y, mask = member.with_mask(x, **parameters)
            results += [y, member.backward(x, mask=mask, **parameters)]
        assert [result.dtype for result in results] == [expected] * len(results)
        as_floats = x.astype(np.float64 if kept and dtype.itemsize < 8 else float_dtype)
        if kept and dtype.itemsize == 8:  # what float64 holds
            as_floats = (x >> 12).astype(np.float64)
            results[:2] = member(x >> 12, **parameters), member.derivative(x >> 12, **parameters)
        assert_same(results[0], member(as_floats, **parameters).astype(expected))
        assert_same(results[1], member.derivative(as_floats, **parameters).astype(expected))


# Others' functions ---------------------------------------------------------------------------------------------------

MODERATE = np.concatenate([np.linspace(-5, 5, 2001), [-0.5, 0.0, 0.5, 1.0, -1.0]]).astype(np.float32)

PYTORCH = {
    "celu": "F.celu(x, alpha=1.0)",
    "elu": "F.elu(x)",
    "exponential": "torch.exp(x)",
    "gelu": "F.gelu(x)",
    "gelu_tanh": "F.gelu(x, approximate='tanh')",
    "hard_shrink": "F.hardshrink(x)",
    "hard_sigmoid": "F.hardsigmoid(x)",
    "hard_swish": "F.hardswish(x)",
    "hard_tanh": "F.hardtanh(x)",
    "hard_mish": "torch.where(x > -2, torch.where(x < 0, x * (x + 2) / 2, x), torch.zeros_like(x))",
    "laplace": "(1 + torch.erf((x - 0.707107) / (0.282095 * 2**0.5))) / 2",
    "leaky_relu": "F.leaky_relu(x)",
    "log_sigmoid": "F.logsigmoid(x)",
    "mish": "F.mish(x)",
    "relu": "F.relu(x)",
    "relu6": "F.relu6(x)",
    "selu": "F.selu(x)",
    "sigmoid": "F.sigmoid(x)",
    "silu": "F.silu(x)",
    "soft_shrink": "F.softshrink(x)",
    "softplus": "F.softplus(x)",
    "softsign": "F.softsign(x)",
    "tanh": "F.tanh(x)",
    "tanh_shrink": "F.tanhshrink(x)",
    "thresholded_relu": "F.threshold(x, 1.0, 0.0)",
    "threshold": "F.threshold(x, 1.0, -0.5)",
    "snake": "x + torch.sin(x) ** 2",
    "dish": "x / 2 * (1 + x / torch.sqrt(1 + x * x))",
    "sqrt_softplus": "torch.sqrt(F.softplus(x))",
    "xielu": "torch.where(x > 0, 0.8 * x * x + 0.5 * x, 0.8 * (torch.expm1(x.clamp(max=-1e-6)) - x) + 0.5 * x)",
}
WITH_PYTORCH = """
import sys, numpy as np, torch, torch.nn.functional as F
results = {}
for name, expression in EXPRESSIONS.items():
    x = torch.tensor(np.load(PATH + "/x.npy"), requires_grad=True)
    y = eval(expression)
    y.sum().backward()
    results[name], results[name + "'"] = y.detach().numpy(), x.grad.numpy()
np.savez(PATH + "/results.npz", **results)
"""
ONNX = {
    "celu": ("Celu", {}),
    "elu": ("Elu", {}),
    "gelu": ("Gelu", {}),
    "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "hard_swish": ("HardSwish", {}),
    "hard_shrink": ("Shrink", {"lambd": 0.5}),
    "leaky_relu": ("LeakyRelu", {"alpha": 0.01}),
    "mish": ("Mish", {}),
    "relu": ("Relu", {}),
    "selu": ("Selu", {"alpha": 1.6732632423543772, "gamma": 1.0507009873554805}),
    "sigmoid": ("Sigmoid", {}),
    "shrink": ("Shrink", {}),
    "silu": ("Swish", {}),
    "soft_shrink": ("Shrink", {"lambd": 0.5, "bias": 0.5}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
    "thresholded_relu": ("ThresholdedRelu", {"alpha": 1.0}),
}
WITH_ONNX = """
import numpy as np, onnx, onnx.helper as h
from onnx.reference import ReferenceEvaluator
results, number = {}, max(24, 24)
for name, (operator, attributes) in EXPRESSIONS.items():
    x, y = (h.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None]) for name in "xy")
    graph = h.make_graph([h.make_node(operator, ["x"], ["y"], **attributes)], "one", [x], [y])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", number)])
    results[name], = ReferenceEvaluator(model).run(None, {"x": np.load(PATH + "/x.npy")})
np.savez(PATH + "/results.npz", **results)
"""


def of_others(library: str, code: str, expressions: dict, path) -> dict[str, np.ndarray]:
    """Have a library compute, in a process of its own, as its threads would stay in this one."""
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    np.save(path / "x.npy", MODERATE)
    code = f"EXPRESSIONS, PATH = {expressions!r}, {str(path)!r}\n{code}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return dict(np.load(path / "results.npz"))


@pytest.fixture(scope="module")
def pytorch(tmp_path_factory):
    return of_others("torch", WITH_PYTORCH, PYTORCH, tmp_path_factory.mktemp("pytorch"))


@pytest.fixture(scope="module")
def onnx(tmp_path_factory):
    return of_others("onnx", WITH_ONNX, ONNX, tmp_path_factory.mktemp("onnx"))


@pytest.mark.parametrize("name", PYTORCH)
def test_pytorch_computes_the_same_function(pytorch, name):
    activation = CATALOGUE[name]
    np.testing.assert_allclose(activation(MODERATE), pytorch[name], rtol=4e-6, atol=4e-6)
    np.testing.assert_allclose(activation.derivative(MODERATE), pytorch[f"{name}'"], rtol=4e-6, atol=4e-6)


@pytest.mark.parametrize("name", ONNX)
def test_onnx_means_the_same_function(onnx, name):
    np.testing.assert_allclose(CATALOGUE[name](MODERATE), onnx[name], rtol=4e-6, atol=4e-6)
