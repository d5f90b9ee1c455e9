"""The docstrings of an activation function, written from its block."""

from __future__ import annotations

import math

from ..formulas.text import describe
from .specification import Block, RowBlock

_PARAMETERS = {
    "x": "x : array_like\n    Any shape and strides; integers, float16, bfloat16, float32 or float64. Not modified.",
    "dy": "dy : array_like\n    The gradient with respect to the output; broadcasts with `x`.",
    "y": "y : array_like, optional\n    The output, instead of `x`.",
    "mask": "mask : Mask, optional\n    What ``with_mask`` returned, instead of `x`.",
}
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
    "with_mask": "y : array\n    The value.\nmask : Mask\n    One bit an element, for ``backward(dy, mask=mask)``.",
    "vjp": "y : array\n    The value.\npullback : callable\n    Takes dy to dx; it keeps {kept}.",
}
_SUMMARIES = {
    "derivative": "Derivative of {name}.",
    "backward": "Multiply a gradient by the derivative of {name}, in one pass.",
    "value_and_derivative": "Compute {name} and its derivative in one pass.",
    "with_mask": "Compute {name}, and one bit an element for the backward call.",
    "vjp": "Compute {name}, and the function that takes the gradient of the output to that of the input.",
}


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:g}"


def _section(title: str, *entries: str) -> str:
    text = "\n".join(entry for entry in entries if entry)
    return f"{title}\n{'-' * len(title)}\n{text}" if text else ""


def _join(*sections: str) -> str:
    return "\n\n".join(section for section in sections if section) + "\n"


def _block_parameters(block: Block) -> str:
    return "\n".join(
        f"{name} : array_like, default {default:g}\n    Broadcasts with `x`; rounded to its dtype."
        for name, default in block.parameters.items()
    )


def _dtypes(block: Block) -> str:
    if block.selects:
        return "The dtype of `x` is kept."
    return _FLOATING


def _accuracy(block: Block) -> str:
    if block.ulp.float32 == 0:
        return "Accuracy: exact, or one correctly rounded operation."
    value, derivative = block.ulp[:2], block.ulp[2:]
    return (
        f"Accuracy: at most {value[0]:g} units in the last place in float32 ({derivative[0]:g} of the derivative), "
        f"{value[1]:g} in float64 ({derivative[1]:g}); float16 and bfloat16 are rounded once."
    )


def function(block: Block) -> str:
    """Document the call itself."""
    summary, _, rest = (block.value.__doc__ or "").partition("\n")
    rest = "\n".join(line.removeprefix("    ") for line in rest.splitlines())
    prose, _, references = rest.strip().partition("References\n----------\n")
    special = ", ".join(f"f({_number(x)}) = {_number(y)}" for x, y in block.special)
    kinks = ", ".join(f"f'({_number(x)}) = {_number(d)}" for x, d in block.kinks)
    notes = [
        f"The formula is ``{describe(block.value)}``, its derivative ``{describe(block.derivative)}``.",
        f"Special values: {special}." if special else "",
        f"Where the derivative does not exist: {kinks}." if kinks else "",
        _accuracy(block),
        "``.ufunc`` is the same as a NumPy ufunc, with ``where=``, ``casting=`` and ``at``.",
        "For bfloat16, import ml_dtypes before ``.ufunc`` itself is called.",
    ]
    return _join(
        summary,
        prose.strip(),
        _section("Parameters", _PARAMETERS["x"], _OUT.format(what="the result", may_be="x"), _block_parameters(block)),
        _section("Returns", f"y : array\n    Of the shape of `x`. {_dtypes(block)}"),
        _section("Raises", _ERRORS),
        _section("Notes", "\n\n".join(note for note in notes if note)),
        _section("References", references.strip()),
        _section("Examples", _example(block)),
    )


def _example(block: Block) -> str:
    """Show the function on three numbers; the doctest holds what the formula says."""
    import numpy as np

    from ..formulas import arrays as array_primitives
    from ..formulas import bind

    x = np.array([-2.0, 0.0, 3.0])
    parameters = map(np.float64, block.parameters.values())
    y = bind(block.value, array_primitives.primitives(np.float64))(x, *parameters)
    source = f">>> import numpy as np\n>>> from {block.module} import {block.name}\n"
    return f"{source}>>> {block.name}(np.array([-2.0, 0.0, 3.0]))\n{y!r}"


def rowwise(block: RowBlock) -> str:
    """Document a row-wise function."""
    summary, _, rest = (block.value.__doc__ or "").partition("\n")
    rest = "\n".join(line.removeprefix("    ") for line in rest.splitlines())
    prose, _, references = rest.strip().partition("References\n----------\n")
    axis = (
        "axis : int, tuple of int or None, default -1\n    Along which the rows lie. The elements of several axes make "
        "one row; None stands for all axes."
    )
    notes = (
        f"The formula is ``{describe(block.value)}``. A row with a NaN, with inf, or of nothing but -inf is NaN.",
        f"Accuracy: at most {block.ulp[0]:g} units in the last place in float32, {block.ulp[1]:g} in float64, in rows "
        "of any length; of dx, in units of the larger of the sum of its terms' magnitudes and the largest dx of the "
        "row. float16 and bfloat16 are rounded once.",
        "``.backward(dy, x=None, out=None, *, y=None, axis=-1)`` gives dx; from y it need not compute y again. "
        "``.vjp(x)`` gives y and the function that takes dy to dx.",
    )
    return _join(
        summary,
        prose.strip(),
        _section("Parameters", _PARAMETERS["x"], _OUT.format(what="the result", may_be="x"), axis),
        _section("Returns", f"y : array\n    Of the shape of `x`. {_FLOATING}"),
        _section("Raises", _ERRORS),
        _section("Notes", "\n\n".join(notes)),
        _section("References", references.strip()),
        _section(
            "Examples",
            f">>> from rectifier import {block.name}\n>>> {block.name}([[0.0, 0.0], [0.0, 1000.0]]).shape\n(2, 2)",
        ),
    )


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


def gated(block: Block, name: str) -> str:
    """Document a function of two arrays, or one of its calls."""
    (gate,) = block.parameters
    summary, _, rest = (block.value.__doc__ or "").partition("\n")
    rest = "\n".join(line.removeprefix("    ") for line in rest.splitlines())
    prose, _, references = rest.strip().partition("References\n----------\n")
    second = f"{gate} : array_like\n    Broadcasts with `x`."
    if name == "backward":
        out = f"out : tuple of arrays, optional\n    Where to write dx and d{gate}."
        arguments = [_PARAMETERS["dy"], _PARAMETERS["x"], second, out]
    else:
        arguments = [_PARAMETERS["x"], second, _OUT.format(what="the value", may_be="x")]
    return _join(
        _GATED_SUMMARIES[name].format(name=block.name) if name else summary,
        "" if name else prose.strip(),
        _section("Parameters", *arguments),
        _section("Returns", _GATED_RESULTS[name].format(gate=gate)),
        _section("Raises", _ERRORS),
        _section("Notes", f"See `{block.name}` for the rest." if name else _accuracy(block)),
        "" if name else _section("References", references.strip()),
        "" if name else _section("Examples", _gated_example(block)),
    )


def _gated_example(block: Block) -> str:
    import numpy as np

    from ..formulas import arrays as array_primitives
    from ..formulas import bind

    x, gate = np.array([1.0, 2.0]), np.array([-1.0, 0.5])
    y = bind(block.value, array_primitives.primitives(np.float64))(x, gate)
    source = f">>> import numpy as np\n>>> from {block.module} import {block.name}\n"
    return f"{source}>>> {block.name}(np.array([1.0, 2.0]), np.array([-1.0, 0.5])).round(6)\n{y.round(6)!r}"


def method(block: Block, name: str) -> str:
    """Document one of the calls that hang on the function."""
    inputs = (
        ("dy", "x", *[key for key in ("y", "mask") if key in block.backward_from]) if name == "backward" else ("x",)
    )
    what = "the value" if name in ("with_mask", "vjp") else "the result"
    if name == "value_and_derivative":
        out = "out : tuple of arrays, optional\n    Where to write the two results."
    else:
        out = _OUT.format(what=what, may_be=inputs[0])
    documented = [_PARAMETERS[key] for key in inputs[1:]] if name == "backward" else []
    kept = "a mask" if "mask" in block.backward_from else "`x`"
    return _join(
        _SUMMARIES[name].format(name=block.name),
        _section("Parameters", _PARAMETERS[inputs[0]], *documented, out, _block_parameters(block)),
        _section("Returns", _RESULTS[name].format(name=block.name, kept=kept)),
        _section("Raises", _ERRORS),
        _section("Notes", f"NaN in `x` gives NaN, except from a mask. See `{block.name}` for the rest."),
    )
