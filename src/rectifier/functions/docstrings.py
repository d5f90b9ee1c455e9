"""The docstrings of public functions, written from their specifications."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..formulas import arrays as array_primitives
from ..formulas import bind
from ..formulas.text import describe
from .required import Required
from .specification import Elementwise, Gated, OfSum, Rowwise, Specification

_PARAMETERS = {
    "x": "x : array_like\n    Any shape and strides; integers, float16, bfloat16, float32 or float64. Not modified.",
    "dy": "dy : array_like\n    The gradient with respect to the output; broadcasts with `x`.",
    "y": "y : array_like, optional\n    The output, instead of `x`.",
    "mask": "mask : Mask, optional\n    What ``with_mask`` returned, instead of `x`.",
    "axis": "axis : int, tuple of int or None, default -1\n    Along which the rows lie. The elements of several axes "
    "make one row; None stands for all axes.",
}
_OPTIONS = (
    "where : array of bool, optional\n    Which elements of `x` count; broadcasts with `x`. The others are not seen: "
    "the result there is {nothing}, also in a row\n    of which nothing counts.",
    "scale : float, default 1.0\n    A positive number by which `x` is multiplied, of float64 for float64, else of "
    "float32. The product is not rounded.",
    "causal : bool, default False\n    Over the last two axes, whether row i of n rows of m elements ends with element "
    "i + m - n. No element after that is\n    read; the result there is {nothing}.",
    "sink : array_like, optional\n    One more exponent of each row's sum, with no result of its own; broadcasts with "
    "the shape of `x` without `axis`. It is\n    rounded to the dtype of `x`, and not multiplied by `scale`.",
)
_OF_REDUCTION = (
    _PARAMETERS["axis"],
    "where : array of bool, optional\n    Which elements of `x` count; broadcasts with `x`. The others are not seen.",
    "keepdims : bool, default False\n    Whether the axes of a row stay in the result, with one element.",
)
_FLOATING = "Floating dtypes are kept; integers become floats as in ``numpy.exp``."
_OUT = "out : array, optional\n    Where to write {what}: of the shape and dtype of the result. May be `{may_be}`."
_ERRORS = """\
TypeError
    If a dtype is bool, complex, longdouble or not a number, or `out` is not an array of the result's dtype.
ValueError
    If shapes do not broadcast, or `out` has another shape or is read-only."""
_RESULTS = {
    "derivative": "d : array\n    The derivative at `x`, of the shape and dtype of the value.",
    "backward": "dx : array\n    ``dy * {name}.derivative(x)``; 0 where the derivative is 0, whatever `dy` is there.",
    "value_and_derivative": "y, d : arrays\n    The value and the derivative, in one pass.",
    "with_mask": "y : array\n    The value.\nmask : Mask\n    One bit per element, for ``backward(dy, mask=mask)``.",
    "vjp": "y : array\n    The value.\npullback : callable\n    Takes dy to dx; it keeps {kept}.",
}
_SUMMARIES = {
    "derivative": "Compute the derivative of {name}.",
    "backward": "Multiply a gradient by the derivative of {name}, in one pass.",
    "value_and_derivative": "Compute {name} and its derivative in one pass.",
    "with_mask": "Compute {name}, and one bit per element for the backward call.",
    "vjp": "Compute {name}, and the function that takes the gradient of the output to that of the input.",
}
_GATED_SUMMARIES = {
    "backward": "Multiply a gradient by both derivatives of {name}, in one pass.",
    "vjp": "Compute {name}, and the function that takes the gradient of the output to those of both inputs.",
}
_GATED_RESULTS = {
    "": "y : array\n    Of the shape to which `x` and `{gate}` broadcast; their dtypes promote.",
    "backward": "dx, d{gate} : arrays\n    Of the shapes of `x` and `{gate}`: where one was broadcast, its gradient is "
    "summed, in float64\n    and in an order that does not depend on threads.",
    "vjp": "y : array\n    The value.\npullback : callable\n    Takes dy to (dx, d{gate}); it keeps `x` and `{gate}`.",
}
_PACKED = (
    "a : array_like\n    x and the {gate}, packed along `axis`: of as many elements. Not modified.",
    "order : {{'gate_first', 'gate_last', 'interleaved'}}\n    Whether the {gate} is the first half, the second, or "
    "what lies at even places. Models differ, and there is no default.",
    "axis : int, default -1\n    Along which they are packed.",
)
_PACKED_SUMMARIES = {
    "packed": "Compute {name} of two arrays that are packed in one, in one pass and without copies of them.",
    "packed.backward": "Multiply a gradient by both derivatives of {name} of two arrays that are packed in one.",
}
_PACKED_RESULTS = {
    "packed": "y : array\n    The value: as long as `a`, but half along `axis`.",
    "packed.backward": "da : array\n    The gradients, packed as `a` is.",
}
_PACKED_ERRORS = """\
TypeError
    If `order` is missing or no string, a dtype is bool, complex, longdouble or not a number, or `out` is not an array
    of the result's dtype.
ValueError
    If `order` is another string, `a` has an odd number of elements along `axis`, shapes do not broadcast, or `out` has
    another shape or is read-only."""
_ROWS_SUMMARIES = {
    "backward": "Multiply a gradient by the Jacobian of {name}, which is never formed.",
    "vjp": "Compute {name}, and the function that takes the gradient of the output to that of the input.",
}
_ROWS_RESULTS = {
    "backward": "dx : array\n    Of the shape of `dy`. From `y` it need not compute y again.",
    "vjp": "y : array\n    The value.\npullback : callable\n    Takes dy to dx; it keeps `x`.",
}


_WITH_SINK = {
    "backward": "\ndsink : array\n    Where there is a `sink`, which takes `x`: of its shape, summed where it was "
    "broadcast.",
    "vjp": " With a `sink` it takes dy to (dx, dsink).",
}


class Docstring(NamedTuple):
    """The docstring of a formula, taken apart."""

    summary: str
    prose: str
    references: str


def split(docstring: str | None) -> Docstring:
    """Split a docstring into its first line, what follows, and its references."""
    summary, _, rest = (docstring or "").partition("\n")
    rest = "\n".join(line.removeprefix("    ") for line in rest.splitlines())
    prose, _, references = rest.strip().partition("References\n----------\n")
    return Docstring(summary, prose.strip(), references.strip())


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:g}"


def section(title: str, *entries: str) -> str:
    """Return a section under its title; nothing where it has no entries."""
    text = "\n".join(entry for entry in entries if entry)
    return f"{title}\n{'-' * len(title)}\n{text}" if text else ""


def join(*sections: str) -> str:
    """Return a docstring of sections, without the empty ones."""
    return "\n\n".join(section for section in sections if section) + "\n"


def _of_parameters(spec: Specification) -> str:
    return "\n".join(
        f"{name} : array_like{_default(default)}\n    Broadcasts with `x`; rounded to its dtype."
        for name, default in spec.parameters.items()
    )


def _default(value: float) -> str:
    return "" if isinstance(value, Required) else f", default {value:g}"


def _accuracy(spec: Elementwise | Gated) -> str:
    if spec.ulp.float32 == 0:
        return "Accuracy: exact, or one correctly rounded operation."
    value, derivative = spec.ulp[:2], spec.ulp[2:]
    return (
        f"Accuracy: at most {value[0]:g} units in the last place in float32 ({derivative[0]:g} of the derivative), "
        f"{value[1]:g} in float64 ({derivative[1]:g}); float16 and bfloat16 are rounded once."
    )


def of(spec: Specification) -> str:
    """Document a function."""
    parts = split(spec.value.__doc__)
    if isinstance(spec, Gated):
        second = [f"{spec.gate} : array_like\n    Broadcasts with `x`.", _of_parameters(spec)]
        results, notes, what = _GATED_RESULTS[""].format(gate=spec.gate), [_accuracy(spec)], "the value"
    elif isinstance(spec, Rowwise):
        second, what = [_PARAMETERS["axis"], *_options(spec)], "the result"
        results, notes = f"y : array\n    Of the shape of `x`. {_FLOATING}", _notes_on_rows(spec)
        if spec.reduces:
            second, results = [*_OF_REDUCTION], f"y : array\n    Of the shape of `x` without `axis`. {_FLOATING}"
    else:
        assert isinstance(spec, Elementwise)
        second, what = [_of_parameters(spec)], "the result"
        kept = "The dtype of `x` is kept." if spec.selects else _FLOATING
        results, notes = f"y : array\n    Of the shape of `x`. {kept}", _notes(spec)
    out = _OUT.format(what=what, may_be="x")
    out = out.partition(" May be")[0] if isinstance(spec, Rowwise) and spec.reduces else out
    given = [out, *second] if not isinstance(spec, Gated) else [second[0], out, second[1]]
    return join(
        parts.summary,
        parts.prose,
        section("Parameters", _PARAMETERS["x"], *given),
        section("Returns", results),
        section("Raises", _ERRORS),
        section("Notes", "\n\n".join(note for note in notes if note)),
        section("References", parts.references),
        section("Examples", _example(spec)),
    )


def _notes(spec: Elementwise) -> list[str]:
    special = ", ".join(f"f({_number(x)}) = {_number(y)}" for x, y in spec.special)
    kinks = ", ".join(f"f'({_number(x)}) = {_number(d)}" for x, d in spec.kinks)
    return [
        f"The formula is ``{describe(spec.value)}``, its derivative ``{describe(spec.derivative)}``.",
        f"Special values: {special}." if special else "",
        f"Where the derivative does not exist: {kinks}." if kinks else "",
        _accuracy(spec),
        "``.ufunc`` is the same as a NumPy ufunc, with ``where=``, ``casting=`` and ``at``.",
        "For bfloat16, import ml_dtypes before ``.ufunc`` itself is called.",
    ]


def _options(spec: Rowwise) -> list[str]:
    """Document the options of a function that has some."""
    if not spec.has_options:
        return []
    value = bind(spec.value, array_primitives.primitives(np.float64))
    with np.errstate(all="ignore"):
        y = value(*(np.float64(number) for number in (-np.inf, 0, 0, 0)))
    return [text.format(nothing=_number(float(y))) for text in _OPTIONS]


_FORMULAS = {
    "exponential": "The formula is ``{formula}``. A row with a NaN, with inf, or of nothing but -inf is NaN.",
    "excess": "A row with a NaN, with inf, or of nothing but -inf is NaN. In float64, a result may be off by another "
    "``2**-100``.",
    "first": "A row with a NaN is NaN. Of infinities the first is the largest, and of zeros of either sign.",
}


def _notes_on_rows(spec: Rowwise) -> list[str]:
    if spec.reduces:
        return [
            f"Accuracy: at most {spec.ulp[0]:g} units in the last place in float32, {spec.ulp[1]:g} in float64, in "
            "rows of any length; and where the largest x and the logarithm beside it cancel, ``2**-51`` of that "
            "logarithm, on a GPU ``2**-28`` of it in float32. float16 and bfloat16 are rounded once.",
        ]
    accuracy = (
        f"at most {spec.ulp[0]:g} units in the last place in float32, {spec.ulp[1]:g} in float64, in rows of any "
        "length; of dx, in units of the larger of the sum of its terms' magnitudes and the largest dx of the row. "
        "float16 and bfloat16 are rounded once"
    )
    formula = _FORMULAS[spec.each].format(formula=describe(spec.value))
    return [formula, f"Accuracy: {accuracy if spec.ulp[0] else 'exact'}."]


def _example(spec: Specification) -> str:
    """Write a call on some numbers; the doctest holds what the formula says."""
    if isinstance(spec, Rowwise) and spec.reduces:
        return f">>> from {spec.module} import {spec.name}\n>>> {spec.name}([[0.0, 0.0], [0.0, 1000.0]]).shape\n(2,)"
    if isinstance(spec, Rowwise):
        return f">>> from {spec.module} import {spec.name}\n>>> {spec.name}([[0.0, 0.0], [0.0, 1000.0]]).shape\n(2, 2)"
    arrays = {"x": np.array([-2.0, 0.0, 3.0])}
    if isinstance(spec, Gated):
        arrays = {"x": np.array([1.0, 2.0]), spec.gate: np.array([-1.0, 0.5])}
    formula = bind(spec.value, array_primitives.primitives(np.float64))
    with np.errstate(all="ignore"):
        y = formula(*arrays.values(), *map(np.float64, spec.parameters.values()))
    given = "".join(f", {name}={number:g}" for name, number in spec.required.items())
    texts = ", ".join(f"np.array({array.tolist()})" for array in arrays.values())
    rounded = ".round(6)" if isinstance(spec, Gated) else ""
    return (
        f">>> import numpy as np\n>>> from {spec.module} import {spec.name}\n>>> {spec.name}({texts}{given}){rounded}\n"
        f"{y.round(6) if rounded else y!r}"
    )


_QUANTIZED = """\
Compute {name} of integers of eight bits that stand for numbers, scale * (q - zero_point).

The result stands for f(x) by `out_scale` and `out_zero_point`: it is f(x) / out_scale, rounded to the nearest integer,
of two the even one, plus `out_zero_point`, and saturated. A table of 256 results is made at the first call with these
arguments, and kept.

Parameters
----------
q : ndarray of int8 or uint8
    Any shape and strides. Not modified.
scale, out_scale : float
    Positive and finite; used as given.
zero_point, out_zero_point : int
    Integers of the dtype of `q`.
out : array, optional
    Where to write the result: of the shape and dtype of `q`. May be `q`.{parameters}

Returns
-------
array
    Of the shape and dtype of `q`.

Raises
------
TypeError
    If `q` has another dtype, a scale is no number, a zero point no integer, or `out` no such array.
ValueError
    If a scale is not positive and finite, a zero point is outside the dtype, `out` has another shape, or a result is
    NaN.

Notes
-----
All results are right: where float64 does not tell which of two integers is nearer, the textbook form does, to 120
digits. Arrays of NumPy and Dask are taken.

References
----------
B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference", CVPR
2018, equation 1; the operators QuantizeLinear and DequantizeLinear of ONNX.
"""


def _quantized(spec: Specification) -> str:
    """Document the call on quantised integers."""
    given = spec.parameters.items()
    parameters = "".join(f"\n{key} : float{_default(default)}\n    One number." for key, default in given)
    return _QUANTIZED.format(name=spec.name, parameters=parameters)


def _of_packed(spec: Gated, name: str) -> str:
    given = [text.format(gate=spec.gate) for text in _PACKED]
    out = "out : array, optional\n    Where to write the value: of the shape and dtype of the result."
    if name == "packed.backward":
        given.insert(0, "dy : array_like\n    The gradient with respect to the output.")
        out = _OUT.format(what="the gradients", may_be="a")
    return join(
        _PACKED_SUMMARIES[name].format(name=spec.name),
        section("Parameters", *given, out, _of_parameters(spec)),
        section("Returns", _PACKED_RESULTS[name]),
        section("Raises", _PACKED_ERRORS),
        section("Notes", f"See `{spec.name}` for the rest."),
    )


def method(spec: Specification, name: str) -> str:
    """Document one of the methods of a function."""
    if name == "quantized":
        return _quantized(spec)
    if name in _PACKED_SUMMARIES:
        assert isinstance(spec, Gated)
        return _of_packed(spec, name)
    out, kept = _OUT.format(what="the value" if name in ("with_mask", "vjp") else "the result", may_be="x"), "`x`"
    given, summaries, results = [_PARAMETERS["x"]], _SUMMARIES, _RESULTS
    after = [_of_parameters(spec)]
    gate = spec.gate if isinstance(spec, Gated) else ""
    if name == "backward":
        given, out = [_PARAMETERS["dy"], _PARAMETERS["x"]], _OUT.format(what="the result", may_be="dy")
    if isinstance(spec, Gated):
        summaries, results = _GATED_SUMMARIES, _GATED_RESULTS
        given += [f"{gate} : array_like\n    Broadcasts with `x`."]
        out = f"out : tuple of arrays, optional\n    Where to write dx and d{gate}." if name == "backward" else out
    elif isinstance(spec, Rowwise):
        summaries, results, after = _ROWS_SUMMARIES, _ROWS_RESULTS, [_PARAMETERS["axis"], *_options(spec)]
        after = [_PARAMETERS["y"], *after] if name == "backward" else after
        if spec.reduces:
            results, after = {**results, "backward": "dx : array\n    Of the shape of `x`."}, [*_OF_REDUCTION]
            of_value = "dy : array_like\n    The gradient with respect to the value, and of its shape."
            given = [of_value, _PARAMETERS["x"]] if name == "backward" else given
            out = out.replace("May be `dy`", "May be `x`") if name == "backward" else out.partition(" May be")[0]
        if spec.has_options:
            results = {key: text + _WITH_SINK[key] for key, text in results.items()}
    else:
        kept = "a mask" if "mask" in spec.backward_from else kept
        sources = [key for key in ("y", "mask") if key in spec.backward_from] if name == "backward" else []
        after = [*(_PARAMETERS[key] for key in sources), *after]
        if name == "value_and_derivative":
            out = "out : tuple of arrays, optional\n    Where to write the two results."
    nan = "" if isinstance(spec, Rowwise) else "NaN in `x` gives NaN, except from a mask. "
    return join(
        summaries[name].format(name=spec.name),
        section("Parameters", *given, out, *after),
        section("Returns", results[name].format(name=spec.name, kept=kept, gate=gate)),
        section("Raises", _ERRORS),
        section("Notes", f"{nan}See `{spec.name}` for the rest."),
    )


_OF_SUM = {
    "": "Compute {of} of the sum of two arrays, in one pass.",
    "backward": "Multiply a gradient by the derivative of {of} at the sum of two arrays, and sum it, in one pass.",
    "with_mask": "Compute {of} of the sum of two arrays, and one bit per element for the backward call.",
}
_OF_SUM_RESULTS = {
    "": "y : array\n    ``{of}(x + {b})``, bit for bit; of the dtype of that.",
    "backward": "dx, d{b} : arrays\n    Of the shapes of `x` and `{b}`. Where one was broadcast, its gradient is\n"
    "    summed, in float64 and in an order that does not depend on threads, and rounded once.",
    "with_mask": "y : array\n    The value.\nmask : Mask\n    That of ``{of}.with_mask(x + {b})``.",
}
_OF_SUM_EXAMPLES = {
    "": ">>> bool(np.all({of}.of_sum(x, b) == {of}(x + b)))\nTrue",
    "backward": ">>> dx, db = {of}.of_sum.backward(np.ones((2, 2)), x, b)\n>>> dx.shape, db.shape\n((2, 2), (2,))",
    "with_mask": ">>> y, mask = {of}.of_sum.with_mask(x, b)\n>>> mask.shape\n(2, 2)",
}


def of_sum(spec: OfSum, name: str) -> str:
    """Document the function of a sum, or one of its methods."""
    of, b = spec.of.name, spec.gate
    given = [_PARAMETERS["x"], f"{b} : array_like\n    A bias, or an array of the shape of `x`; broadcasts with it."]
    out, after = _OUT.format(what="the value", may_be="x"), [_of_parameters(spec)]
    if name == "backward":
        given = [_PARAMETERS["dy"], *given]
        out = f"out : tuple of arrays, optional\n    Where to write dx and d{b}."
        after = [
            f"mask : Mask, optional\n    What ``with_mask`` returned, instead of `x` and `{b}`.",
            f"shape : tuple of int, optional\n    The shape of `{b}`, beside a mask.", *after,
        ]  # fmt: skip
    example = f">>> import numpy as np\n>>> from {spec.module} import {of}\n"
    example += ">>> x, b = np.array([[-2.0, 0.5], [0.0, 3.0]]), np.array([1.0, -0.25])\n"
    needs_mask = name == "with_mask" and "mask" not in spec.backward_from
    return join(
        _OF_SUM[name].format(of=of),
        section("Parameters", *given, out, *after),
        section("Returns", _OF_SUM_RESULTS[name].format(of=of, b=b)),
        section("Raises", _ERRORS),
        section("Notes", f"The sum is rounded once, to the dtype that NumPy gives it. See `{of}` for the rest."),
        "" if needs_mask else section("Examples", example + _OF_SUM_EXAMPLES[name].format(of=of)),
    )
