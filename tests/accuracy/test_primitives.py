"""The smooth primitives, each by itself, and the polynomials that they are made of, against mpmath."""

from __future__ import annotations

import ctypes
from functools import cache

import mpmath
import numpy as np
import pytest
from llvmlite import ir
from mpmath import mpf

from rectifier.engine import store
from rectifier.engine.compiler import kernels, target
from rectifier.engine.compiler.instructions import Module
from rectifier.engine.compiler.optimise import PREFIX, object_of, optimise
from rectifier.engine.compiler.storage import Storage
from rectifier.engine.compiler.strips import Array, Strips
from rectifier.engine.compiler.vectors import permutation
from rectifier.formulas import PRIMITIVES
from rectifier.formulas.llvm import Trace
from rectifier.formulas.smooth import SMOOTH, parts, polynomials
from rectifier.testing import dtype_of

F4, F8 = np.dtype("f4"), np.dtype("f8")
REACH = polynomials.REACH * (1 - 1e-6)  # a float32 that is in it
DTYPES = {"wide": F8, "narrow": F8, "single": F4, "plain": F4}  # the forms, and what each computes in
TAILLESS = ("narrow", "plain")
LANES = 16  # of a register of AVX-512, or of several of others
ARITHMETIC = {"T", "largest", "stored", "where", "abs", "copysign", "sqrt", "fma"}
NUMBERS = {  # how many each takes and gives
    "whole": (2, 1), "sum_parts": (3, 2), "unordered_sum_parts": (3, 2), "product": (4, 1), "product_parts": (4, 2),
    "quotient": (4, 1), "quotient_parts": (4, 2),
    "exp": (2, 1), "exp_parts": (2, 3), "expm1": (2, 1), "expm1_parts": (2, 2), "log1p": (1, 1), "log1p_parts": (2, 2),
    "normal_tail": (1, 2), "normal_tail_slope": (1, 2), "near_zero": (3, 1), "sine_squared": (2, 2),
    "one_plus_sine": (2, 2),
}  # fmt: skip


def compiled(call, count: int, results: int, form: str, lanes: int = LANES, permute=permutation):
    """Compile what a function of a trace and nodes returns, over so many arrays, which gives so many."""
    machine, number = target.host(), Storage(DTYPES[form].name, DTYPES[form].name)
    module = Module(machine)
    function = ir.Function(module, kernels.SIGNATURE, PREFIX + "primitive")
    pointers, n, _ = function.args
    b = ir.IRBuilder(function.append_basic_block())
    kind = number.type.as_pointer()
    arrays = [
        Array(number, b.bitcast(b.load(b.gep(pointers, [ir.IntType(64)(k)])), kind)) for k in range(count + results)
    ]

    def values(numbers, of):
        stored = "float16" if form == "plain" else number.name
        trace = Trace(b, of, number.name, form != "wide", stored, permute=permute(machine))
        assert trace.form == form
        found = call(trace, *map(trace.input, numbers))
        return [node.value for node in (found if isinstance(found, tuple) else (found,))]

    def evaluate(loaded):
        if lanes:
            return values(loaded, lanes)
        rows = [ir.Constant(loaded[0].type, ir.Undefined)] * results
        for k in map(ir.IntType(32), range(LANES)):
            each = values([b.extract_element(vector, k) for vector in loaded], 0)
            rows = [b.insert_element(row, value, k) for row, value in zip(rows, each, strict=True)]
        return rows

    Strips(b, lanes or LANES, lanes or LANES, arrays[:count], arrays[count:], n, evaluate).emit()
    b.ret_void()
    made = object_of(optimise(module, ("primitive",), machine).module, machine)
    code = store._load(made, {PREFIX + "primitive"})["primitive"]

    def sweep(*inputs):
        outputs = [np.empty_like(inputs[0]) for _ in range(results)]
        every = [np.ascontiguousarray(x) for x in (*inputs, *outputs)]
        assert {x.dtype for x in every} == {DTYPES[form]}
        addresses = (ctypes.c_void_p * len(every))(*[x.ctypes.data for x in every])
        ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)(code)(addresses, inputs[0].size, 0)
        return tuple(outputs) if results > 1 else outputs[0]

    return sweep


@cache
def primitive(name: str, form: str, *first: str):
    return compiled(lambda trace, *nodes: trace.primitives()[name](*first, *nodes), *NUMBERS[name], form)


def test_every_smooth_primitive_is_tested_here():
    assert set(PRIMITIVES) == ARITHMETIC | set(NUMBERS)
    assert set(SMOOTH) == set(NUMBERS)


@pytest.fixture(params=DTYPES)
def form(request):
    return request.param


def normal_tail(x):
    return mpmath.exp(x * x / 2) * mpmath.erfc(x / mpmath.sqrt(2)) / 2


def normal_tail_slope(x):
    return normal_tail(x) - x / mpmath.sqrt(2 * mpmath.pi)


EXACT = {
    "exp": mpmath.exp, "exp_parts": mpmath.exp, "expm1": mpmath.expm1, "expm1_parts": mpmath.expm1,
    "log1p": mpmath.log1p, "log1p_parts": mpmath.log1p, "normal_tail": normal_tail,
    "normal_tail_slope": normal_tail_slope,
}  # fmt: skip
# Where they are computed: of those in parts, what is promised; of the others, where the result is a normal number.
DOMAINS = {
    ("exp", "wide"): (-708.3, 709.7), ("exp", "narrow"): (-87.3, 88.7), ("exp", "single"): (-87.3, 88.7),
    ("exp_parts", "wide"): (-745.2, 0), ("exp_parts", "narrow"): (-104, 0), ("exp_parts", "single"): (-104, 0),
    ("expm1", "wide"): (-800, 709.7), ("expm1", "narrow"): (-100, 88.7), ("expm1", "single"): (-1e30, 88.7),
    ("expm1_parts", "wide"): (-1e300, 0), ("expm1_parts", "narrow"): (-100, 0), ("expm1_parts", "single"): (-1e30, 0),
    ("log1p", "wide"): (-1 + 2.0**-53, 1.7e308), ("log1p", "narrow"): (-1 + 2.0**-24, 3e38),
    ("log1p", "single"): (-1 + 2.0**-24, 3.4e38),
    ("log1p_parts", "wide"): (0, 1), ("log1p_parts", "narrow"): (0, 1), ("log1p_parts", "single"): (0, 1),
    ("normal_tail", "wide"): (0, 40), ("normal_tail", "narrow"): (0, 15), ("normal_tail", "single"): (0, 14.9),
    ("normal_tail_slope", "wide"): (0, 40), ("normal_tail_slope", "narrow"): (0, 15),
    ("normal_tail_slope", "single"): (0, 14.9),
}  # fmt: skip
DOMAINS |= {(name, "plain"): domain for (name, form), domain in DOMAINS.items() if form == "single"}
# As measured. Of one number in units of its last place; of parts in 2^-53 and 2^-24 of their sum.
BOUNDS = {
    "exp": {"wide": 0.7, "single": 0.7, "plain": 1.2},
    "exp_parts": {"wide": 0.2, "single": 0.28, "plain": 1.2},
    "expm1": {"wide": 1.0, "single": 1.13, "plain": 1.5},
    "expm1_parts": {"wide": 1.0, "single": 0.62, "plain": 1.35},  # wide, x below 2^-53 loses its tail
    "log1p": {"wide": 0.9, "single": 0.67, "plain": 2.6},
    "log1p_parts": {"wide": 1.4, "single": 0.35, "plain": 2.8},
    "normal_tail": {"wide": 1.2, "single": 0.27, "plain": 1.8},  # wide, 0.13 from 1.5 on
    "normal_tail_slope": {"wide": 1.2, "single": 0.35, "plain": 1.8},
}
NARROW_BOUND = 2.0**-27.5


def points(name: str, form: str, count: int = 500) -> np.ndarray:
    """Take numbers over the domain, near 0 and near the ends of every magnitude, and the ends."""
    low, high = DOMAINS[name, form]
    rng = np.random.default_rng(3)
    most = min(max(-low, high), 1e30)
    x = [rng.uniform(max(low, -120), min(high, 120), count), np.exp(rng.uniform(np.log(1e-30), np.log(most), count))]
    x += [np.exp2(rng.uniform(-30, 2, count)), np.array([low, high, low / 2, high / 2])]
    if name == "log1p":
        x += [np.exp(rng.uniform(np.log(1e-30), np.log(high), count // 2)), -rng.uniform(0.2, 0.4, count // 2),
              np.exp2(rng.uniform(-24, 0, count // 2)) - 1]  # fmt: skip
    values = np.concatenate([*x, -np.concatenate(x)]).astype(DTYPES[form])
    return values[(values >= low) & (values <= high) & (values != 0)]


def tails(x: np.ndarray, seed: int = 9) -> np.ndarray:
    """Take what rounding may have taken, in half of the cases."""
    rng = np.random.default_rng(seed)
    tail = rng.uniform(-1, 1, x.size) * np.spacing(np.abs(x)) / 2
    return np.where((rng.integers(0, 2, x.size) == 1) & (abs(tail) < 1), tail, 0).astype(x.dtype)


def sums(results) -> list[mpf]:
    """Add parts: those of `exp_parts` have a scale, too."""
    if not isinstance(results, tuple):
        return list(map(mpf, results.tolist()))
    parts = [[mpf(v) for v in result.tolist()] for result in results]
    return [(a + b) * (c[0] if c else 1) for a, b, *c in zip(*parts, strict=True)]


def errors(name: str, form: str, x: np.ndarray, tail: np.ndarray | None, results) -> list[mpf]:
    """Measure in units of the form; of one number in units of its last place, even of subnormal ones."""
    digits, least = (24, -149) if DTYPES[form] == F4 else (53, -1074)
    found = []
    with mpmath.workdps(50):
        given = [mpf(v) for v in x.tolist()]
        if tail is not None:
            given = [v + mpf(rest) for v, rest in zip(given, tail.tolist(), strict=True)]
        for v, actual in zip(given, sums(results), strict=True):
            exact = EXACT[name](v)
            if name == "normal_tail_slope" and DTYPES[form] == F8:  # a difference, whose digits are those of its terms
                unit = normal_tail(v) / (1 if form == "narrow" else 2**digits)
            elif form == "narrow":
                unit = abs(exact)
            elif form == "plain" or isinstance(results, tuple):
                unit = abs(exact) / 2**digits
            else:
                unit = mpf(2) ** max(least, mpmath.frexp(exact)[1] - digits)
            found.append(abs(actual - exact) / unit)
    return found


@pytest.mark.parametrize("name", EXACT)
def test_a_primitive_has_its_bound(form, name):
    x = points(name, form)
    tail = tails(x) * (form not in TAILLESS) if NUMBERS[name][0] == 2 else None
    results = primitive(name, form)(x, *([] if tail is None else [tail]))
    found = errors(name, form, x, tail, results)
    bound = NARROW_BOUND if form == "narrow" else BOUNDS[name][form]
    worst = int(np.argmax(found))
    assert found[worst] <= bound, f"{name}({x[worst]!r}) is off by {float(found[worst])}, not {bound}"
    assert form == "narrow" or found[worst] > bound / 2  # it is tight


SINES = {"sine_squared": lambda x: mpmath.sin(x) ** 2, "one_plus_sine": lambda x: 1 + mpmath.sin(2 * x)}


@pytest.mark.parametrize("name", SINES)
@pytest.mark.parametrize(
    ("form", "least", "most", "bound"), [("wide", -1074, 1023, 1.1), ("narrow", -298, 255, 2.0**17)]
)
def test_a_sine_has_its_bound_of_numbers_of_every_size(name, form, least, most, bound):
    rng = np.random.default_rng(3)
    x = np.ldexp(rng.uniform(1, 2, 400), rng.integers(least, most, 400)) * rng.choice([-1, 1], 400)
    near = np.pi / 4 * np.concatenate([np.arange(1, 60), rng.integers(1, 1 << 40, 60)])  # of zeros, and of ones
    x = np.concatenate([x, near, -near])
    tail = tails(x) * (form == "wide")
    results = primitive(name, form)(x, tail)
    with mpmath.workprec(1300):
        exact = [SINES[name](mpf(v) + mpf(rest)) for v, rest in zip(x.tolist(), tail.tolist(), strict=True)]
        found = [
            abs(mpf(y) + mpf(lost) - right) / (right / 2**53 + mpf(2) ** -1074)
            for y, lost, right in zip(*(result.tolist() for result in results), exact, strict=True)
        ]
    worst = int(np.argmax(found))
    assert found[worst] <= bound, f"{name}({x[worst]!r}) is off by {float(found[worst])}, not {bound}"


@pytest.mark.parametrize("form", ["single", "plain"])
def test_a_block_in_float32_has_no_sine(form):
    with pytest.raises(TypeError, match="there is no sine in float32"):
        primitive("sine_squared", form)


def test_the_normal_tail_has_three_bits_more_than_its_type_where_it_is_squared(form):
    """And with its tail alone: by itself the first is off by a unit."""
    if form != "wide":
        pytest.skip("the bound of the other forms is the same everywhere")
    x = points("normal_tail", form)
    x = x[x > 1.5]
    first, tail = primitive("normal_tail", form)(x)
    assert max(errors("normal_tail", form, x, None, (first, tail))) <= 0.13
    assert max(errors("normal_tail", form, x, None, (first, 0 * tail))) > 0.9


def test_the_normal_tail_of_float32_is_that_of_14_9_beyond():
    x = np.array([14.9, 14.91, 20, 1e5, 3e38], F4)
    for result in primitive("normal_tail", "single")(x):
        assert len(set(result.tolist())) == 1
    assert np.isnan(primitive("normal_tail", "single")(np.array([np.nan], F4))[0])


@pytest.mark.parametrize("form", TAILLESS)
@pytest.mark.parametrize("name", [name for name in EXACT if NUMBERS[name][0] == 2])
def test_where_no_tail_is_needed_it_is_nothing(name, form):
    x = points(name, form)
    given, expected = (primitive(name, form)(x, tail) for tail in (tails(x), 0 * x))
    assert np.array_equal(given, expected)
    if isinstance(given, tuple):
        assert (given[1] == 0).all()


@pytest.mark.parametrize("name", ["exp", "expm1"])
def test_a_tail_that_is_not_below_1_is_that_of_infinity(name):
    for form in ("wide", "single"):
        x = np.array([np.inf, -np.inf, 88.0, 0.0], DTYPES[form])
        for tail in (np.nan, np.inf, -np.inf, 1.0):
            found = primitive(name, form)(x, np.full_like(x, tail))
            assert np.array_equal(found, primitive(name, form)(x, np.zeros_like(x)))


@pytest.mark.parametrize("form", ["wide", "single"])
def test_exp_rounds_subnormal_results_once(form):
    low, high = (-745.2, -708.4) if form == "wide" else (-104, -87.4)
    x = np.random.default_rng(2).uniform(low, high, 1500).astype(DTYPES[form])
    y = primitive("exp", form)(x, 0 * x)
    assert 0 < np.median(y) < np.finfo(y.dtype).smallest_normal
    assert max(errors("exp", form, x, None, y)) <= 0.79


@pytest.mark.parametrize("form", ["wide", "single"])
def test_parts_of_an_exponential_are_normal_where_it_is_subnormal(form):
    """So no digit is lost before what they are multiplied by is known; the scale alone may be 2^-64 or less."""
    low, high = (-745.2, -708.4) if form == "wide" else (-104, -87.4)
    x = np.random.default_rng(2).uniform(low, high, 1500).astype(DTYPES[form])
    first, second, scale = primitive("exp_parts", form)(x, tails(x))
    least = np.finfo(x.dtype).smallest_normal
    assert first.min() >= least
    assert ((abs(second) >= least) | (second == 0)).all()
    assert set(scale.tolist()) == {2.0**-512 if form == "wide" else 2.0**-64}
    assert (abs(second) <= 0.1 * first).all()
    zero = np.array([-1e30, -np.inf], x.dtype)
    for result in primitive("exp_parts", form)(zero, np.zeros_like(zero))[:2]:
        assert result.tolist() == [0, 0]


@pytest.mark.parametrize("form", ["single", "plain"])
@pytest.mark.parametrize("name", ["exp", "expm1", "log1p"])
def test_a_general_primitive_of_float32_takes_every_number(name, form):
    """Over all bits: in units of the last place of the result, those of subnormal results, too; infinity beyond."""
    bits = np.random.default_rng(5).integers(0, 2**32, 3000, np.uint32)
    x = np.concatenate([bits.view(F4), np.array([1e-45, -1e-45, 88.72284, -103.97, -1 + 2.0**-24], F4)])
    y = primitive(name, form)(*[x, np.zeros_like(x)][: NUMBERS[name][0]])
    undefined = np.isnan(x) | ((x < -1) if name == "log1p" else False)
    assert np.isnan(y[undefined]).all()
    infinite = np.isposinf(x) if name == "log1p" else x > 88.72283
    assert np.isposinf(y[infinite]).all()
    rest = ~undefined & ~infinite & (abs(x) < 2000 if name != "log1p" else True)
    assert rest.sum() > 1000
    assert max(errors(name, "single", x[rest], None, y[rest])) <= (1.13 if form == "single" else 2.6)
    far = x < -2000
    assert (y[far] == {"exp": 0, "expm1": -1}[name]).all() if name != "log1p" else True


@pytest.mark.parametrize(("form", "digits"), [("wide", 53), ("single", 24)])
def test_the_1_of_a_large_exponential_less_1_is_rounded_with_it(form, digits):
    """Next to 2^53 and 2^24 it is half of the last place, or a quarter."""
    x = np.random.default_rng(8).uniform((digits - 4) * np.log(2), (digits + 3) * np.log(2), 1500).astype(DTYPES[form])
    assert max(errors("expm1", form, x, None, primitive("expm1", form)(x, 0 * x))) <= 0.75


def at(name: str, form: str, *numbers: float):
    """Evaluate at one place: a number, or a tuple of them."""
    found = primitive(name, form)(*[np.array([number], DTYPES[form]) for number in numbers])
    return tuple(result.item() for result in found) if isinstance(found, tuple) else found.item()


def test_primitives_at_the_edges(form):
    inf, nan = float("inf"), float("nan")
    largest = 1e300 if form == "narrow" else inf  # what float32 takes for infinity
    smallest = 1e-300 if form == "narrow" else 0.0
    assert at("exp", form, inf, 0) >= largest
    assert 0 <= at("exp", form, -inf, 0) <= smallest
    first, second, scale = at("exp_parts", form, -inf, 0)
    assert 0 <= (first + second) * scale <= smallest
    assert at("expm1", form, inf, 0) >= largest
    assert at("expm1", form, -inf, 0) == -1
    assert at("expm1_parts", form, -inf, 0)[0] == -1
    for x in (0.0, -0.0):
        first, second, scale = at("exp_parts", form, x, 0)
        for one in (at("exp", form, x, 0), (first + second) * scale):
            assert one == 1 or (form == "narrow" and abs(one - 1) < 2**-28)
        for result in (at("expm1", form, x, 0), at("log1p", form, x)):
            assert str(result) == str(x)
        assert at("expm1_parts", form, x, 0) == (0, 0)
    for name in ("exp", "exp_parts", "expm1", "expm1_parts"):
        assert np.isnan(np.min(at(name, form, nan, 0))), name
    assert np.isnan(at("log1p", form, nan))
    assert np.isnan(at("log1p", form, -1.5))
    assert np.isnan(at("log1p", form, -inf))
    assert at("log1p", form, inf) == inf
    assert at("log1p", form, -1.0) == -inf
    assert at("log1p_parts", form, 0.0, 0.0) == (0, 0)
    assert np.isnan(at("log1p_parts", form, nan, 0.0)[0])


# Arithmetic with tails ------------------------------------------------------------------------------------------------


def operands(form: str, count: int = 1000):
    """Take two numbers of many magnitudes with their tails, the second above 0."""
    rng = np.random.default_rng(9)
    x = rng.standard_normal(count) * 10.0 ** rng.integers(-9, 9, count)
    y = rng.uniform(0.5, 1e6, count)
    x, y = x.astype(DTYPES[form]), y.astype(DTYPES[form])
    return x, tails(x, 1), y, tails(y, 2)


OPERATIONS = {
    "sum_parts": lambda x, x_tail, y, y_tail: x + y + x_tail,
    "unordered_sum_parts": lambda x, x_tail, y, y_tail: x + y + x_tail,
    "product": lambda x, x_tail, y, y_tail: (x + x_tail) * (y + y_tail),
    "product_parts": lambda x, x_tail, y, y_tail: (x + x_tail) * (y + y_tail),
    "quotient_parts": lambda x, x_tail, y, y_tail: (x + x_tail) / (y + y_tail),
    "quotient": lambda x, x_tail, y, y_tail: (x + x_tail) / (y + y_tail),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_arithmetic_carries_tails(form, name):
    """In parts to twice the digits, but for a few bits; and what is rounded at last is rounded once."""
    x, x_tail, y, y_tail = operands(form)
    if name == "sum_parts":
        x, y = np.where(abs(x) > y, x, y), np.where(abs(x) > y, y, x)
    of_sum = name.endswith("sum_parts")
    given = [x, y, x_tail] if of_sum else [x, x_tail, y, y_tail]
    found = primitive(name, form)(*given)
    plain = x + y if of_sum else x * y if name.startswith("product") else x / y
    if form in TAILLESS:
        first, tail = found if isinstance(found, tuple) else (found, 0 * x)
        assert np.array_equal(first, plain)
        assert not tail.any()
        return
    digits = np.finfo(x.dtype).nmant + 1
    lost = {"sum_parts": 1 - 2 * digits, "product_parts": 2 - 2 * digits, "quotient_parts": 3 - 2 * digits}
    lost["unordered_sum_parts"] = lost["sum_parts"]
    limit = 2.0 ** lost[name] if name in lost else 0.5001 * 2.0 ** (1 - digits)
    if name in lost:
        assert (abs(found[0] - plain) <= np.spacing(abs(plain))).all()
    with mpmath.workdps(60):
        numbers = ([mpf(v) for v in a.tolist()] for a in (x, x_tail, y, y_tail))
        for *each, actual in zip(*numbers, sums(found), strict=True):
            exact = OPERATIONS[name](*each)
            assert abs(actual - exact) <= limit * abs(exact), each


def test_parts_without_tails_are_exact(form):
    if form in TAILLESS:
        pytest.skip("it has no tails")
    x, _, y, _ = operands(form)
    x[:4] = [0, -0.0, 3, -3]
    zero = np.zeros_like(x)
    larger, smaller = np.where(abs(x) > y, x, y), np.where(abs(x) > y, y, x)
    with mpmath.workdps(60):
        for *each, actual in zip(
            larger, smaller, sums(primitive("sum_parts", form)(larger, smaller, zero)), strict=True
        ):
            assert actual == mpf(float(each[0])) + mpf(float(each[1]))
        for *each, actual in zip(x, y, sums(primitive("unordered_sum_parts", form)(x, y, zero)), strict=True):
            assert actual == mpf(float(each[0])) + mpf(float(each[1]))
        for *each, actual in zip(x, y, sums(primitive("product_parts", form)(x, zero, y, zero)), strict=True):
            assert actual == mpf(float(each[0])) * mpf(float(each[1]))


def test_a_square_carries_its_tail(form):
    """It takes fewer operations: one node is both factors."""
    x, tail, _, _ = operands(form)
    square = compiled(lambda trace, x, tail: trace.primitives()["product_parts"](x, tail, x, tail), 2, 2, form)
    found = square(x, tail)
    if form in TAILLESS:
        assert np.array_equal(found, (x * x, 0 * x))
        return
    with mpmath.workdps(60):
        for v, rest, actual in zip(x.tolist(), tail.tolist(), sums(found), strict=True):
            exact = (mpf(v) + mpf(rest)) ** 2
            assert abs(actual - exact) <= exact * 2.0 ** (2 - 2 * (np.finfo(x.dtype).nmant + 1))


def test_the_sign_of_a_zero_is_kept(form):
    """A tail of 0.0 would make 0.0 of -0.0, also of a dividend; quotients are by what is above 0."""
    for x in (0.0, -0.0):
        assert str(at("quotient", form, x, -0.0, 3, 0)) == str(x)
        for more in (1e-9, -1e-9, 0.0):
            assert str(at("product", form, x, 0, 3, more)) == str(at("product", form, 3, more, x, -0.0)) == str(x)
        for tail in (0.0, -0.0):
            for name in ("product_parts", "quotient_parts"):
                if name == "quotient_parts" and str(tail) == "0.0":
                    continue
                first, rest = at(name, form, x, tail, 3, 0)
                assert str(first) == str(x)
                assert str(at("whole", form, first, rest)) == str(x)
                assert form in TAILLESS or str(rest) == "-0.0"
        first, rest = at("product_parts", form, x, 0, -3, 0)
        assert str(at("whole", form, first, rest)) == str(-x)
    assert str(at("whole", form, -0.0, 0.0)) == ("-0.0" if form in TAILLESS else "0.0")


def test_what_is_infinite_or_nan_is_so_in_its_first_part(form):
    inf, nan = float("inf"), float("nan")
    assert at("product_parts", form, inf, 0, 2, 0)[0] == inf
    assert at("product_parts", form, -inf, 0, 2, 0)[0] == -inf
    assert at("sum_parts", form, inf, 2, 0)[0] == inf
    assert at("quotient_parts", form, inf, 0, 2, 0)[0] == inf
    assert at("quotient_parts", form, 2, 0, inf, 0)[0] == 0
    for name in ("product_parts", "quotient_parts"):
        assert np.isnan(at(name, form, nan, 0, 2, 0)[0])
        assert np.isnan(at(name, form, 2, 0, nan, 0)[0])


@pytest.mark.parametrize("form", ["wide", "single"])
def test_what_is_known_of_factors_and_tails_takes_no_operation(form):
    kind = ir.FloatType() if form == "single" else ir.DoubleType()
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [kind, kind]), "f")
    block = function.append_basic_block()
    trace = Trace(ir.IRBuilder(block), 0, DTYPES[form].name, form != "wide")
    x, tail = map(trace.input, function.args)
    words = trace.primitives()
    one, zero = words["T"](1), words["T"](0)

    def same(found, expected):
        return list(map(id, found)) == list(map(id, expected))

    assert same(words["product_parts"](x, tail, one, zero), (x, tail))
    assert same(words["product_parts"](one, zero, x, tail), (x, tail))
    assert same(words["quotient_parts"](x, tail, one, zero), (x, tail))
    assert words["where"](one > zero, x, tail) is x
    assert words["where"](one < zero, x, tail) is tail
    assert not block.instructions
    assert words["product"](one, zero, x, tail) is words["product"](x, tail, one, zero) is words["whole"](x, tail)
    assert all(map(parts.is_zero, (zero, -zero, zero * x, words["where"](x < one, zero, -zero), 0.0, -0.0)))
    some = (x, one, one - x, -x, words["where"](x < one, zero, x), words["where"](x < one, x, zero), x + zero, 5e-324)
    assert not any(map(parts.is_zero, some))
    assert not same(words["product_parts"](x, tail, one, tail), (x, tail))
    assert not same(words["quotient_parts"](x, tail, one, tail), (x, tail))
    comparisons = {
        "lt": one < zero,
        "le": one <= zero,
        "gt": one > zero,
        "ge": one >= zero,
        "eq": one == zero,
        "ne": one != zero,
    }
    assert comparisons == {"lt": False, "le": False, "gt": True, "ge": True, "eq": False, "ne": True}


def test_a_literal_of_two_numbers_has_twice_the_digits():
    rest = 4.263256414560601e-17
    for form, dtype in DTYPES.items():
        trace = Trace(ir.IRBuilder(), 0, dtype.name, form != "wide")
        first, second = (node.number for node in trace.number(1.702, rest))
        assert first == dtype.type(1.702)
        assert first.dtype == second.dtype == dtype
        with mpmath.workdps(40):
            exact = mpf(1702) / 1000
            lacking = abs(mpf(float(first)) + mpf(float(second)) - exact)
            assert lacking <= exact * mpf(2) ** (-47 if dtype == F4 else -105)
        assert trace.largest().number == np.finfo(dtype).max
    with pytest.raises(TypeError, match="integers have no largest"):
        Trace(ir.IRBuilder(), 0, "int32", False).largest()


# Tables ---------------------------------------------------------------------------------------------------------------

WAYS = {"permuted": (LANES, permutation), "two at a time": (2 * LANES, permutation),
        "loaded": (LANES, lambda machine: None), "one by one": (0, permutation)}  # fmt: skip
TABLE = (0.1, -2.5, 3e38, -0.0, 1e-45, float("inf"), 7.0, -8.25)


@pytest.mark.parametrize("way", WAYS)
def test_the_last_three_bits_of_an_integer_choose_from_a_table(way):
    look = compiled(lambda trace, x: trace.look_up(trace.bits(x), TABLE), 1, 1, "single", *WAYS[way])
    bits = np.concatenate([np.arange(64), np.random.default_rng(4).integers(0, 2**32, 999)]).astype(np.uint32)
    expected = np.array(TABLE, F4)[bits & 7]
    assert look(bits.view(F4)).tobytes() == expected.tobytes()


@pytest.mark.parametrize("way", WAYS)
def test_a_function_of_pieces_has_the_same_bits_in_every_way(way):
    x = np.concatenate([points("normal_tail", "single"), np.array([0, 20, 1e30, np.inf, np.nan], F4)])
    for name in ("normal_tail", "normal_tail_slope"):
        tail = compiled(lambda trace, x, name=name: trace.primitives()[name](x), 1, 2, "single", *WAYS[way])
        for result, expected in zip(tail(x), primitive(name, "single")(x), strict=True):
            assert np.array_equal(result.view("u4"), expected.view("u4"))


# Next to zeros --------------------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + mpmath.exp(-x))


def weighted(x, z, slope):
    return sigmoid(z) * (1 + x * slope * sigmoid(-z))


def root_of_8_over_pi():
    return mpmath.sqrt(8 / mpmath.pi)


DERIVATIVES = {
    "silu": lambda x: weighted(x, x, 1),
    "gelu_tanh": lambda x: weighted(
        x, root_of_8_over_pi() * (x + mpf("0.044715") * x**3), root_of_8_over_pi() * (1 + mpf("0.134145") * x * x)
    ),
    "mish": lambda x: (
        mpmath.tanh(mpmath.log1p(mpmath.exp(x))) + x * sigmoid(x) * mpmath.sech(mpmath.log1p(mpmath.exp(x))) ** 2
    ),
}


def test_each_zero_is_right_to_its_second_number():
    from rectifier.catalogue import CATALOGUE

    for name, (at_zero, rest, slope, slope_rest, *_) in polynomials.ZEROS.items():
        at_zero, rest, slope, slope_rest = (float(F4.type(v)) for v in (at_zero, rest, slope, slope_rest))
        with mpmath.workdps(40):
            zero = mpmath.findroot(DERIVATIVES[name], mpf(at_zero))
            assert abs(rest) <= np.spacing(F4.type(abs(at_zero))) / 2
            assert abs(mpf(at_zero) + mpf(rest) - zero) <= np.spacing(F4.type(abs(rest))) / 2 + 1e-17
            exact = mpmath.diff(DERIVATIVES[name], zero)
            assert abs((mpf(slope) + mpf(slope_rest)) / exact - 1) <= mpf(2) ** -29
            (known,) = CATALOGUE[name].spec.zeros
            assert abs(known - zero) <= 2e-16
    (known,) = CATALOGUE["quick_gelu"].spec.zeros
    assert abs(1.702 * known - float(mpmath.findroot(DERIVATIVES["silu"], mpf(-1.28)))) < 1e-9


@pytest.mark.parametrize("name", polynomials.ZEROS)
def test_a_derivative_next_to_its_zero_has_its_last_place(name):
    """And without what it is computed of elsewhere."""
    rng = np.random.default_rng(6)
    zero = F4.type(polynomials.ZEROS[name][0])
    x = np.concatenate([zero + rng.uniform(-REACH, REACH, 500), zero + np.exp2(rng.uniform(-24, -3, 300)),
                        zero - np.exp2(rng.uniform(-24, -3, 300)), [zero]]).astype(F4)  # fmt: skip
    x = x[abs(x - zero) < REACH]
    beside = primitive("near_zero", "single", name)
    for tail in (0 * x, tails(x)):
        y = beside(np.full_like(x, np.nan), x, tail)
        with mpmath.workdps(30):
            for v, rest, actual in zip(x.tolist(), tail.tolist(), y.tolist(), strict=True):
                at_v = mpf(v) + mpf(rest)
                exact = DERIVATIVES[name](at_v)
                # The two tails together are rounded once: to 2^-49.
                unit = mpf(2) ** (mpmath.frexp(exact)[1] - 24)
                assert abs(actual - exact) <= 0.95 * unit + mpf(2) ** -49 * (rest != 0), (v, rest)
    far = np.array([zero - REACH - 1e-4, zero + REACH + 1e-4, 0, 1, np.inf, -np.inf], F4)
    assert (beside(np.full_like(far, 7), far, np.zeros_like(far)) == 7).all()


def test_the_slope_of_the_normal_tail_next_to_its_zero_has_its_last_place():
    with mpmath.workdps(40):
        zero = mpmath.findroot(normal_tail_slope, mpf(0.75))
        middle = polynomials.MIDDLES[-1]
        assert F4.type(middle) == F4.type(float(zero))
        rng = np.random.default_rng(6)
        steps = np.concatenate([np.exp2(rng.uniform(-24, -3, 300)), np.arange(1, 100) * 2.0**-24, [0]])
        x = np.unique(np.concatenate([float(zero) + steps, float(zero) - steps]).astype(F4))
        parts = primitive("normal_tail_slope", "single")(x)
        for v, high, tail in zip(x.tolist(), *(part.tolist() for part in parts), strict=True):
            exact = normal_tail_slope(mpf(v))
            assert abs(mpf(high) + mpf(tail) - exact) <= 0.5 * abs(exact) * mpf(2) ** -24, v


@pytest.mark.parametrize("name", polynomials.ZEROS)
def test_16_bits_next_to_a_zero_need_one_number_of_it(name):
    """All there are: in units of the last place of the dtype, of subnormal numbers, too."""
    for dtype, digits, least in ((dtype_of("float16"), 11, -24), (dtype_of("bfloat16"), 8, -133)):
        with np.errstate(invalid="ignore"):
            x = np.arange(1 << 16, dtype=np.uint16).view(dtype).astype(F4)
        x = x[np.isfinite(x)]
        x = x[abs(x - F4.type(polynomials.ZEROS[name][0])) < REACH]
        assert x.size > 50
        for v, actual in zip(x.tolist(), primitive("near_zero", "plain", name)(x + 7, x, 0 * x).tolist(), strict=True):
            exact = DERIVATIVES[name](mpf(v))
            assert abs(actual - exact) <= 0.1 * mpf(2) ** max(least, mpmath.frexp(exact)[1] - digits), v


def test_float64_needs_nothing_next_to_a_zero():
    x = np.array([-1.2784645427610738, 0.0])
    for form in ("wide", "narrow"):
        assert primitive("near_zero", form, "silu")(np.array([5.0, 6.0]), x, 0 * x).tolist() == [5, 6]


# Polynomials ---------------------------------------------------------------------------------------------------------


def series(coefficients, x, dtype=F8):
    """Evaluate exactly the polynomial that coefficients are in a dtype."""
    total = mpf(0)
    for coefficient in reversed(coefficients):
        total = total * x + mpf(float(dtype.type(coefficient)))
    return total


def erfcx(x):
    return mpmath.exp(x * x) * mpmath.erfc(x)


def log_ratio(s):
    return mpmath.log((1 + s) / (1 - s))


HALF_LN2 = float(mpmath.log(2) / 2)
ROOT = float(mpmath.sqrt(2))
PIECES = [(1, 2), (2, 3), (3, 5), (5, 7), (7, 11), (11, 15), (0, 0.5), (0.5, 1)]


def piece(k: int, rows):
    middle = mpf(float(F4.type(polynomials.MIDDLES[k])))
    constant, rest, slope, *others = [row[k] for row in (*rows, *polynomials.NORMAL_TAIL_CURVE_SINGLE)]
    return lambda x: series([constant, slope, *others], x - middle, F4) + mpf(float(F4.type(rest)))


def beside_zero(name: str):
    at_zero, rest, slope, slope_rest, *others = polynomials.ZEROS[name]
    zero = mpf(float(F4.type(at_zero))) + mpf(float(F4.type(rest)))
    return lambda d: d * series([slope, *others], d, F4) + d * mpf(float(F4.type(slope_rest))), zero


P = polynomials
# What they stand for and what they give, the interval, the logarithm of the error, absolute or relative.
POLYNOMIALS = {
    "EXP_NARROW": (lambda r: 2**r, lambda r: series(P.EXP_NARROW, r), -0.5, 0.5, -28),
    "EXPM1_NARROW": (
        lambda r: mpmath.expm1(r * mpmath.log(2)) / r, lambda r: series(P.EXPM1_NARROW, r), -0.5, 0.5, -31,
    ),
    "LOG1P_NARROW": (
        lambda x: mpmath.log1p(x) / x, lambda x: series(P.LOG1P_NARROW, x), 1 / ROOT - 1, ROOT - 1, -30,
    ),
    "ERFCX_NARROW": (
        lambda u: erfcx(1 / u - mpf("3.25")) / (2 * u), lambda u: series(P.ERFCX_NARROW, u),
        1 / (10.7 + 3.25), 1 / 3.25, -29,
    ),
    "EXP": (
        lambda r: (mpmath.expm1(r) - r - r * r / 2) / r**3, lambda r: series(P.EXP, r), -HALF_LN2, HALF_LN2, -55.5,
    ),
    "LOG": (
        lambda z: (2 * mpmath.atanh(mpmath.sqrt(z)) / mpmath.sqrt(z) - 2) / z, lambda z: series(P.LOG, z),
        1e-9, ((ROOT - 1) / (ROOT + 1)) ** 2, -54,
    ),
    "ERFCX": (
        lambda t: (1 + 8 * (1 + t) / (1 - t)) * erfcx(4 * (1 + t) / (1 - t)),
        lambda t: series(P.ERFCX, t) + mpf(P.ERFCX_TAIL), -1.0, 24 / 32, -55.8,
    ),
    "EXP_SINGLE": (
        mpmath.exp, lambda r: 1 + r + r * r * series(P.EXP_SINGLE, r, F4), -HALF_LN2, HALF_LN2, -32,
    ),
    "EXP_SINGLE less 1": (
        mpmath.expm1, lambda r: r + r * r * series(P.EXP_SINGLE, r, F4), -HALF_LN2, HALF_LN2, -31,
    ),
    "EXP_IN_ROW": (
        mpmath.exp, lambda r: 1 + r + r * r * series(P.EXP_IN_ROW, r, F4), -HALF_LN2, HALF_LN2, -28,
    ),
    "LOG_SINGLE": (
        log_ratio, lambda s: 2 * s + s**3 * series(P.LOG_SINGLE, s * s, F4), 0, 1 / 3, -29,
    ),
} | {
    f"{name} {k}": (function, piece(k, getattr(polynomials, name)), *PIECES[k], -26.4)
    for name, function in (("NORMAL_TAIL_SINGLE", normal_tail), ("NORMAL_TAIL_SLOPE_SINGLE", normal_tail_slope))
    for k in range(8)
} | {
    f"ZEROS {name}{limit}": (
        lambda d, name=name: DERIVATIVES[name](beside_zero(name)[1] + d), beside_zero(name)[0], -limit, limit, error,
    )
    for name in polynomials.ZEROS for limit, error in ((0.14, -28), (REACH, -26.9))
}  # fmt: skip


def test_every_polynomial_is_tested():
    named = {name for name, value in vars(polynomials).items() if isinstance(value, tuple | dict) and name.isupper()}
    parts = {"MIDDLES", "NORMAL_TAIL_CURVE_SINGLE"}  # of each piece
    assert {name.partition(" ")[0] for name in POLYNOMIALS} == named - parts


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_a_polynomial_is_as_near_as_it_says(name):
    function, polynomial, low, high, error = POLYNOMIALS[name]
    with mpmath.workdps(50):
        absolute, relative = mpf(0), mpf(0)
        for k in range(150):
            x = (mpf(low) + high) / 2 + (mpf(high) - low) / 2 * mpmath.cos(mpmath.pi * (k + mpf("0.3")) / 150)
            exact, actual = function(x), polynomial(x)
            absolute = max(absolute, abs(actual - exact))
            relative = max(relative, abs(actual / exact - 1))
        single = name.split()[0] in {
            "EXP_SINGLE",
            "EXP_IN_ROW",
            "LOG_SINGLE",
            "NORMAL_TAIL_SINGLE",
            "NORMAL_TAIL_SLOPE_SINGLE",
            "ZEROS",
        }
        assert (relative if single else min(absolute, relative)) <= mpf(2) ** error


def test_the_bits_of_1_and_x_choose_the_piece_that_x_lies_in():
    for k, (low, high) in enumerate(PIECES):
        x = np.array([low, np.nextafter(F4.type(high), F4.type(0)) if high > 1 else high - 2.0**-24 * high], F4)
        assert ((1 + x).view("u4") >> 22 & 7).tolist() in ([k, k], [k, (k + 1) % 8])
        assert abs(polynomials.MIDDLES[k] - (low + high) / 2) < 0.002


def exponent(x) -> mpmath.mpf:
    """Give the part of an exponent to the base 2 that the polynomial takes."""
    t = x / mpmath.log(2)
    return t - mpmath.nint(t)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("EXP_NARROW", r) for r in (0.1555655, 0.2238190, 0.2796854)] + [("ERFCX_NARROW", 1 / (0.5315969 + 3.25))],
)
def test_a_polynomial_is_exact_where_a_derivative_is_zero(name, argument):
    """Where just: the digits of the comment are enough for 2^-50, since the error grows slowly there."""
    function, polynomial, *_ = POLYNOMIALS[name]
    with mpmath.workdps(60):
        assert abs(polynomial(mpf(argument)) / function(mpf(argument)) - 1) <= mpf(2) ** -50


def test_the_exact_places_are_those_of_the_zeros():
    from rectifier.catalogue import CATALOGUE

    with mpmath.workdps(30):
        places = {
            "silu": exponent(mpf(CATALOGUE["silu"].spec.zeros[0])),
            "mish": exponent(mpf(CATALOGUE["mish"].spec.zeros[0])),
            "quick_gelu": exponent(mpf("1.702") * mpf(CATALOGUE["quick_gelu"].spec.zeros[0])),
        }
        x = mpf(CATALOGUE["gelu_tanh"].spec.zeros[0])
        places["gelu_tanh"] = exponent(2 * mpmath.sqrt(2 / mpmath.pi) * (x + mpf("0.044715") * x**3))
        known = (0.1555655, 0.2238190, 0.2796854)
        for name, r in places.items():
            assert min(abs(r - k) for k in known) < 1e-6, (name, r)
        assert abs(-mpf(CATALOGUE["gelu"].spec.zeros[0]) / mpmath.sqrt(2) - mpf("0.5315969")) < 1e-6


# Pairs ----------------------------------------------------------------------------------------------------------------

OF_PAIRS = {  # and how many bits are kept, of the larger of the operands where they may cancel
    "+": (lambda words, x, y: x + y, lambda x, y: x + y, lambda x, y: max(abs(x), abs(y)), 45),
    "-": (lambda words, x, y: x - y, lambda x, y: x - y, lambda x, y: max(abs(x), abs(y)), 45),
    "*": (lambda words, x, y: x * y, lambda x, y: x * y, lambda x, y: abs(x * y), 45),
    "/": (lambda words, x, y: x / y, lambda x, y: x / y, lambda x, y: abs(x / y), 44),
    "exp": (lambda words, x, y: words["exp"](-words["abs"](x)), lambda x, y: mpmath.exp(-abs(x)),
            lambda x, y: mpmath.exp(-abs(x)), 25.5),
    "log1p": (lambda words, x, y: words["log1p"](y), lambda x, y: mpmath.log1p(y), lambda x, y: mpmath.log1p(y), 25.5),
    "where": (lambda words, x, y: words["where"](x < y, y, x), lambda x, y: max(x, y), lambda x, y: 1, 50),
}  # fmt: skip


@pytest.mark.parametrize("name", OF_PAIRS)
def test_pairs_compute_with_nearly_twice_the_digits(name):
    from rectifier.formulas import pairs

    call, exact, size, digits = OF_PAIRS[name]

    def of_pairs(trace, *numbers):
        words = trace.primitives()
        x, y = (pairs.Pair(high, tail, words) for high, tail in (numbers[:2], numbers[2:]))
        found = call(pairs.primitives(words), x, y)
        return found.high, found.tail

    x, x_tail, y, y_tail = operands("single")
    if name in ("exp", "where"):
        x = np.clip(x, -80, 80)
        x_tail = tails(x, 1)
    found = compiled(of_pairs, 4, 2, "single")(x, x_tail, y, y_tail)
    with mpmath.workdps(40):
        for a, b, c, d, actual in zip(*(v.tolist() for v in (x, x_tail, y, y_tail)), sums(found), strict=True):
            p, q = mpf(a) + mpf(b), mpf(c) + mpf(d)
            assert abs(actual - exact(p, q)) <= size(p, q) * mpf(2) ** -digits, (a, b, c, d)


def test_what_a_pair_lacks_is_left_out_where_it_is_known_to_be_nothing():
    from rectifier.formulas import pairs

    kind = ir.FloatType()
    function = ir.Function(ir.Module(), ir.FunctionType(ir.VoidType(), [kind, kind]), "f")
    block = function.append_basic_block()
    trace = Trace(ir.IRBuilder(block), 0, "float32", True)
    words = trace.primitives()
    x, y = (pairs.Pair(trace.input(number), words["T"](0.0), words) for number in function.args)
    _ = x + y
    assert len(block.instructions) == 6  # of Knuth's sum
    _ = x * y
    assert len(block.instructions) == 6 + 4  # a product, and what an fma says that it lacks
