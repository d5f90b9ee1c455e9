"""Public functions with the parameters of a specification as real keywords, which can be had from text alone.

A public name is a plain function: a class with ``__call__`` costs 110 ns more per call. Each first asks `_compiled_`, a
builtin function that takes ndarrays of the dtypes that are compiled (`engine.runtime.entry`). What that refuses goes to
`_call_`, which has a backend compute it or says what is wrong with it.

What a text needs has names that begin and end with an underscore; no parameter may have such a name. `out` is the
second argument, as in NumPy's ufuncs: keyword-only, it would cost 40 ns per call.
"""

from __future__ import annotations

import inspect
import linecache
from functools import cache, partial
from types import CodeType
from typing import Any

import numpy as np

from ..engine.calls import not_compiled
from .mask import Mask
from .required import Required
from .row_options import RowOptions

ONE_ARRAY = """
def call(x, out=None{keywords}):
    _y_ = _compiled_(x, {values}out)
    if _y_ is not _refused_:
        return _y_
    return _call_({{'x': x}}, out, {{{named}}})
"""
TWO_RESULTS = """
def call(x, out=None{keywords}):
    _both_ = _compiled_(x, {values}*(out if _type_(out) is _tuple_ else (out, out)))
    if _both_ is not _refused_:
        return _both_
    return _call_({{'x': x}}, out, {{{named}}})
"""
BACKWARD = """
def call(dy, x=None, out=None, *, y=None, mask=None{more_keywords}):
    if y is None:
        if mask is None:
            _dx_ = _compiled_(dy, x, {values}out)
            if _dx_ is not _refused_:
                return _dx_
        elif x is None and _type_(mask) is _Mask_ and mask._function == _maker_ and _type_(dy) is _ndarray_{same}:
            if dy.shape == mask._shape:
                _dx_ = _from_mask_(dy, mask._bits, {values}out)
                if _dx_ is not _refused_:
                    return _dx_
    return _call_(dy, x, out, y, mask, {{{named}}})
"""
_BY_MASK = """
def call(x, out=None{keywords}):
    if {numbers}:
        _both_ = _compiled_(x, {values}out, None)
        if _both_ is not _refused_:
            _mask_ = _new_(_Mask_)
            _y_, _mask_._bits = _both_
            _mask_._shape, _mask_._function, _mask_._parameters = x.shape, _maker_, {{{named}}}
            return _y_, _result_
    return _call_(x, out, {{{named}}})
"""
WITH_MASK = _BY_MASK.replace("_result_", "_mask_")
VJP_BY_MASK = _BY_MASK.replace("_result_", "_partial_(_backward_, mask=_mask_{same_keywords})")
VJP_BY_X = """
def call(x, out=None{keywords}):
    if out is None and {numbers}:
        _y_ = _compiled_(x, {values}None)
        if _y_ is not _refused_:
            return _y_, _partial_(_backward_, x=x{same_keywords})
    return _call_(x, out, {{{named}}})
"""
QUANTIZED = """
def call(q, *, scale, zero_point, out_scale, out_zero_point, out=None{more_keywords}):
    _given_ = {{'scale': scale, 'zero_point': zero_point, 'out_scale': out_scale, 'out_zero_point': out_zero_point}}
    return _call_({{'q': q}}, out, {{**_given_, {named}}})
"""
GATED = """
def call(x, {gate}, out=None{keywords}):
    _y_ = _compiled_(x, {gate}, {values}out)
    if _y_ is not _refused_:
        return _y_
    return _call_({{'x': x, '{gate}': {gate}}}, out, {{{named}}})
"""
BACKWARD_OF_SUM = """
def call(dy, x=None, {gate}=None, out=None, *, mask=None, shape=None{more_keywords}):
    return _call_(dy, x, {gate}, out, mask, shape, {{{named}}})
"""
WITH_MASK_OF_SUM = """
def call(x, {gate}, out=None{keywords}):
    if {numbers}:
        _both_ = _compiled_(x, {gate}, {values}out, None)
        if _both_ is not _refused_:
            _mask_ = _new_(_Mask_)
            _y_, _mask_._bits = _both_
            _mask_._shape, _mask_._function, _mask_._parameters = _y_.shape, _maker_, {{{named}}}
            return _y_, _mask_
    return _call_({{'x': x, '{gate}': {gate}}}, out, {{{named}}})
"""
GATED_BACKWARD = """
def call(dy, x, {gate}, out=None{keywords}):
    if _type_(x) is _ndarray_ and _type_({gate}) is _ndarray_ and _type_(dy) is _ndarray_ and {numbers}:
        if x.shape == {gate}.shape == dy.shape:
            _both_ = _compiled_(dy, x, {gate}, {values}*(out if _type_(out) is _tuple_ else (out, out)))
            if _both_ is not _refused_:
                return _both_
    return _call_({{'dy': dy, 'x': x, '{gate}': {gate}}}, out, {{{named}}})
"""
GATED_PREPARED = """
def call(x, {gate}, out=None{keywords}):
    return _call_(x, {gate}, out, {{{named}}})
"""
PACKED = """
def call(a, *, order, axis=-1, out=None{more_keywords}):
    if _type_(a) is _ndarray_ and _type_(order) is _str_ and _type_(axis) is _int_:
        _at_ = _halves_((order, axis, a.shape))
        if _at_ is not None:
            _x_, _gate_ = _at_
            _y_ = _compiled_(a[_x_], a[_gate_], {values}out)
            if _y_ is not _refused_:
                return _y_
    return _call_(a, order, axis, out, {{{named}}})
"""
PACKED_BACKWARD = """
def call(dy, a, *, order, axis=-1, out=None{more_keywords}):
    if _type_(a) is _ndarray_ is _type_(dy) and _type_(order) is _str_ and _type_(axis) is _int_:
        _at_ = _halves_((order, axis, a.shape))
        _da_ = None if _at_ is None else _room_(a) if out is None else out
        if _type_(_da_) is _ndarray_ and _da_.shape == a.shape:
            _x_, _gate_ = _at_
            _both_ = _compiled_(dy, a[_x_], a[_gate_], {values}_da_[_x_], _da_[_gate_])
            if _both_ is not _refused_:
                return _da_
    return _call_(dy, a, order, axis, out, {{{named}}})
"""
ROWS = """
def call(x, out=None, *, axis=-1):
    if axis == -1:
        _y_ = _compiled_(x, out)
        if _y_ is not _refused_:
            return _y_
    return _call_(x, out, axis)
"""
ROWS_BACKWARD = """
def call(dy, x=None, out=None, *, y=None, axis=-1):
    if x is None and axis == -1:
        _dx_ = _compiled_(dy, y, out)
        if _dx_ is not _refused_:
            return _dx_
    return _call_(dy, x, out, y, axis)
"""
ROWS_PREPARED = """
def call(x, out=None, *, axis=-1):
    return _call_(x, out, axis)
"""


def with_options(template: str) -> str:
    """Return the template of a call of rows with options.

    They are keywords of `options`. As keywords of the call itself, each would cost 10 ns per call without any.
    """
    text = template.replace("axis=-1):", "axis=-1, **_given_):").replace("axis == -1:", "axis == -1 and not _given_:")
    options = """
def options(*, where=None, scale=1.0, causal=False, sink=None):
    return _Options_(where, scale, causal, sink)
"""
    return text.replace("axis)", "axis, _options_(**_given_))") + options


REDUCTION = """
def call(x, out=None, *, axis=-1, where=None, keepdims=False):
    if axis == -1 and where is None and keepdims is False:
        _y_ = _compiled_(x, out)
        if _y_ is not _refused_:
            return _y_
    return _call_(x, out, axis, where, keepdims)
"""
REDUCTION_BACKWARD = """
def call(dy, x, out=None, *, axis=-1, where=None, keepdims=False):
    if axis == -1 and where is None and keepdims is False:
        _dx_ = _compiled_(dy, x, out)
        if _dx_ is not _refused_:
            return _dx_
    return _call_(dy, x, out, axis, where, keepdims)
"""
REDUCTION_PREPARED = """
def call(x, out=None, *, axis=-1, where=None, keepdims=False):
    return _call_(x, out, axis, where, keepdims)
"""
ARGUMENTS = frozenset({"x", "dy", "y", "out", "mask", "axis"})  # what the calls have themselves
QUANTITIES = frozenset({"q", "scale", "zero_point", "out_scale", "out_zero_point"})  # what `quantized` has beside `out`
OF_PACKED = frozenset({"a", "order"})  # and `packed`
OF_SUMS = frozenset({"shape"})  # and `of_sum`


def is_reserved(name: str) -> bool:
    """Return whether a parameter may not have a name, since a text may use it."""
    return name in ARGUMENTS or (name.startswith("_") and name.endswith("_"))


def make(
    template: str,
    name: str,
    module: str,
    namespace: dict[str, Any],
    *,
    parameters: dict[str, float] | None = None,
    gate: str = "",
    maker: str = "",
    doc: str = "",
) -> Any:
    """Make a public function of a template.

    Parameters
    ----------
    template : str
    name, module : str
        A method's name has that of its function before it, ``"relu.backward"``.
    namespace : dict
        The globals of the function, to which what the template needs is added.
    parameters : dict, optional
        Their defaults by their names; one that is `Required` is none.
    gate : str
        The name of the second array, if there is one.
    maker : str
        The full name of the function, which its masks keep.
    doc : str
    """
    parameters = parameters or {}
    defaults = {name: value for name, value in parameters.items() if not isinstance(value, Required)}
    keywords = "".join(f", {name}=None" if name in defaults else f", {name}" for name in parameters)
    text = template.format(
        gate=gate,
        keywords=f", *{keywords}" if parameters else "",
        more_keywords=keywords,
        values="".join(f"{parameter}, " for parameter in parameters),
        same="".join(f" and mask._parameters[{parameter!r}] is {parameter}" for parameter in parameters),
        same_keywords="".join(f", {parameter}={parameter}" for parameter in parameters),
        named=", ".join(f"{parameter!r}: {parameter}" for parameter in parameters),
        numbers=" and ".join(f"_type_({parameter}) is _float_" for parameter in parameters) or "True",
    )
    namespace.update(
        _compiled_=not_compiled, _from_mask_=not_compiled, _refused_=NotImplemented, _Mask_=Mask,
        _ndarray_=np.ndarray, _type_=type, _tuple_=tuple, _float_=float, _new_=object.__new__, _partial_=partial,
        _str_=str, _int_=int,
        _maker_=maker, _Options_=RowOptions,
    )  # fmt: skip
    exec(_compiled(text), namespace)
    function: Any = namespace.pop("call")
    options: Any = namespace.pop("options", None)
    short, file = name.rpartition(".")[2], f"<rectifier: {module}.{name}>"
    function.__code__ = function.__code__.replace(co_filename=file, co_name=short, co_qualname=name)
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file  # for the lines of a traceback
    function.__name__, function.__qualname__, function.__module__, function.__doc__ = short, name, module, doc
    function.__kwdefaults__ = {**(function.__kwdefaults__ or {}), **defaults}
    if options is not None:
        options.__code__ = options.__code__.replace(co_filename=file, co_name=short, co_qualname=name)
        options.__qualname__ = options.__name__ = short
        namespace["_options_"] = options
        function.__signature__ = _joined(function, options)
    return function


def _joined(function: Any, options: Any) -> inspect.Signature:
    """Return the signature of a call whose keywords are those of its options, too."""
    own, more = inspect.signature(function), inspect.signature(options)
    named = [parameter for parameter in own.parameters.values() if parameter.kind is not parameter.VAR_KEYWORD]
    return own.replace(parameters=[*named, *more.parameters.values()])


@cache  # compiling a text takes 0.1 ms, and functions with the same parameters share theirs
def _compiled(text: str) -> CodeType:
    return compile(text, "<rectifier>", "exec")
