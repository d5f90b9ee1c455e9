"""What is relied on of NumPy's binary interface is what NumPy's headers say, and is compared before it is relied on."""

from __future__ import annotations

import ctypes
import re
from pathlib import Path

import numpy as np
import pytest

from conftest import run_python
from rectifier.engine import capi

HEADERS = Path(np.get_include()) / "numpy"


@pytest.fixture
def compared_anew():
    """Have the layout compared in this test, and again after it."""
    capi.different.cache_clear()
    yield
    capi.different.cache_clear()


def entries(header: str) -> dict[str, int]:
    """Read the numbers of the functions in a table: each name stands with its number at the end of a macro."""
    text = (HEADERS / header).read_text()
    found = re.findall(r"#define (\w+)\s(?:[^#]*?)(?:PyArray|PyUFunc)_API\[(\d+)\]", text)
    assert len(found) > 40
    return {name: int(number) for name, number in found}


def constants(header: str) -> dict[str, int]:
    """Read the numbers of a header: of macros, and those given in enumerations."""
    text = (HEADERS / header).read_text()
    found = re.findall(
        r"^\s*(?:#define\s+)?((?:NPY|_NPY)_\w+)(?:\s*=\s*|\s+)(0x[0-9a-fA-F]+|\d+)\b", text, re.MULTILINE
    )
    shifted = re.findall(r"^\s*(NPY_\w+)\s*=\s*(\d+) << (\d+)", text, re.MULTILINE)
    return {name: int(number, 0) for name, number in found} | {n: int(a) << int(b) for n, a, b in shifted}


def test_functions_have_the_numbers_of_the_headers():
    array, ufunc = entries("__multiarray_api.h"), entries("__ufunc_api.h")
    assert {
        "PyArray_GetNDArrayCVersion": capi.GET_VERSION, "PyArray_Type": capi.ARRAY_TYPE,
        "PyArray_NewFromDescr": capi.NEW_FROM_DESCRIPTOR, "PyDataMem_SetHandler": capi.SET_HANDLER,
        "PyDataMem_GetHandler": capi.GET_HANDLER,
    }.items() <= array.items()  # fmt: skip
    assert {
        "PyUFunc_Type": capi.UFUNC_TYPE, "PyUFunc_FromFuncAndData": capi.FROM_FUNC_AND_DATA,
        "PyUFunc_RegisterLoopForType": capi.REGISTER_LOOP_FOR_TYPE,
        "PyUFunc_ReplaceLoopBySignature": capi.REPLACE_LOOP_BY_SIGNATURE,
        "PyUFunc_AddLoopFromSpec": capi.ADD_LOOP_FROM_SPEC, "PyUFunc_AddPromoter": capi.ADD_PROMOTER,
    }.items() <= ufunc.items()  # fmt: skip


def test_constants_have_the_numbers_of_the_headers():
    array, dtype = constants("ndarraytypes.h"), constants("dtype_api.h")
    assert {array[f"NPY_ARRAY_{flag}"]: flag for flag in BITS} == {getattr(capi, flag): flag for flag in BITS}
    assert array["NPY_UNSAFE_CASTING"] == capi.UNSAFE_CASTING
    assert dtype["NPY_METH_REQUIRES_PYAPI"] == capi.REQUIRES_PYAPI
    assert dtype["NPY_METH_strided_loop"] == capi.STRIDED_LOOP
    assert constants("_numpyconfig.h")["NPY_ABI_VERSION"] == capi.VERSION


def test_this_numpy_is_known(compared_anew):
    assert capi.different() == ""
    capi.require()


FIELDS = ("type", "data", "axes", "shape", "strides", "descriptor", "flags", "memory_handler")
BITS = ("C_CONTIGUOUS", "F_CONTIGUOUS", "OWNDATA", "ALIGNED", "WRITEABLE")
LIES = [
    *[(name, 1 << bit) for name in BITS for bit in range(12)],
    *[("ALIGNED", 0x102), ("C_CONTIGUOUS", 3), ("HANDLER_NAME", b"memory")],
    *[("MAX_DIMENSIONS", other) for other in (32, 63)],
]
PLACES = [  # in the object: what lies behind it is another's, and may be of the same type
    *[(capi.ArrayObject, name, word) for name in FIELDS for word in range(np.ndarray.__basicsize__ // 8)],
    *[(capi.FloatObject, name, word) for name in ("type", "number") for word in range(float.__basicsize__ // 8)],
]


def test_a_field_that_lies_elsewhere_is_noticed(compared_anew, monkeypatch):
    for structure, name, word in PLACES:
        field = structure.fields[name]
        if word == field.word:
            continue
        with monkeypatch.context() as patch:
            patch.setattr(field, "word", word)
            capi.different.cache_clear()
            assert capi.different(), f"{structure.__name__}.{name} = {word}"
    capi.different.cache_clear()
    assert capi.different() == ""


def test_whatever_lies_elsewhere_is_noticed(compared_anew, monkeypatch):
    for name, lie in LIES:
        if lie == getattr(capi, name):
            continue
        with monkeypatch.context() as patch:
            patch.setattr(capi, name, lie)
            capi.different.cache_clear()
            assert capi.different(), f"{name} = {lie}"
            with pytest.raises(capi.LayoutError, match="in a way that rectifier does not know"):
                capi.require()
    capi.different.cache_clear()
    assert capi.different() == ""


@pytest.mark.parametrize("length", [119, 128])
def test_another_structure_of_handlers_is_noticed(compared_anew, monkeypatch, length):
    class Handler(ctypes.Structure):
        _fields_ = (("name", ctypes.c_char * length), *capi.Handler._fields_[1:])

    monkeypatch.setattr(capi, "Handler", Handler)
    assert capi.different() == "allocation handlers"


ELSEWHERE = """
import warnings, numpy as np, rectifier
from rectifier import relu, leaky_relu, softmax
from rectifier.engine import capi, choice, ufuncs
from rectifier.engine import memory as pool
LIE
calls = {
    "value": lambda: relu(np.array([[-1, 2, np.nan]], "f4").T).tolist()[1] == [2],
    "mask": lambda: relu.backward(np.ones(3), mask=relu.with_mask(np.arange(-1.0, 2.0))[1]).tolist() == [0, 0, 1],
    "rows": lambda: softmax(np.zeros((2, 1 << 17), "f4")).tolist() == [[2.0**-17] * (1 << 17)] * 2,
    "ufunc": lambda: relu.ufunc(np.array([-3, 3], "i2"), where=[1, 1], out=np.ones(2, "i2")).tolist() == [0, 3],
    "large": lambda: (leaky_relu(np.ones((600, 600))[:, ::2]) == 1).all(),
}
first = "FIRST"
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name in [first, *calls, *calls]:
        assert calls[name](), name
assert len(caught) == 1, [str(w.message) for w in caught]
print(caught[0].message)
print(choice.engine(), pool.handler(), any(loop.compiled for loop in ufuncs._loops.values()))
"""


@pytest.mark.parametrize(
    ("lie", "first", "what"),
    [
        ('capi.ArrayObject.fields["shape"].word += 1', "value", "the shape of an array"),
        ('capi.ArrayObject.fields["strides"].word += 3', "mask", "the strides of an array"),
        ('capi.ArrayObject.fields["memory_handler"].word -= 1', "rows", "the allocation handler of an array"),
        ("capi.OWNDATA = 8", "ufunc", "the flags of an array"),
        ('capi.FloatObject.fields["type"].word -= 1', "rows", "the type of an object"),
        (
            "capi._new_array = lambda dtype, shape, strides: np.zeros(shape, dtype)",
            "value",
            "the constructor of arrays",
        ),
    ],
)
def test_numpy_serves_where_something_lies_elsewhere_with_one_warning(lie, first, what):
    code = ELSEWHERE.replace("LIE", lie).replace("FIRST", first)
    result = run_python(code)
    assert result.returncode == 0, result.stderr
    warning, state = result.stdout.splitlines()
    assert warning.startswith("rectifier computes every function with NumPy, slower than compiled (LayoutError: NumPy ")
    assert f"has {what} in a way that rectifier does not know" in warning
    assert state.startswith("('numpy', 'NumPy ")
    assert state.endswith(f"{what} in a way that rectifier does not know') None False")


ANOTHER_VERSION = """
import ctypes, numpy as np
from numpy._core import _multiarray_umath
pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
new = ctypes.PYFUNCTYPE(ctypes.py_object, *[ctypes.c_void_p] * 3)
address = pointer(("PyCapsule_GetPointer", ctypes.pythonapi))(_multiarray_umath._ARRAY_API, None)
table = (ctypes.c_void_p * 310).from_buffer_copy((ctypes.c_void_p * 310).from_address(address))
version = ctypes.CFUNCTYPE(ctypes.c_uint)(lambda: 0x03000000)
table[0] = ctypes.cast(version, ctypes.c_void_p).value
_multiarray_umath._ARRAY_API = new(("PyCapsule_New", ctypes.pythonapi))(ctypes.addressof(table), None, None)
try:
    import rectifier
except ImportError as error:
    print(error)
"""


def test_another_version_of_the_interface_is_refused_at_import():
    expected = f"rectifier knows version 0x2000000 of NumPy's binary interface, and NumPy {np.__version__} has another"
    result = run_python(ANOTHER_VERSION)
    assert result.stdout.strip() == expected, result.stderr
