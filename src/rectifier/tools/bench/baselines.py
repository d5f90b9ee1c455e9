"""The baselines that ours is measured against.

A baseline turns a `Case` into calls that do the same work; the benchmark measures the quickest of them. What a
baseline does not offer (JAX has no ``out=``) is no call and no row.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from ..libraries import NUMPY, NUMPY_BACKWARD, SCIPY
from .case import DEFAULT_FORMS, Baseline, Call, Case, threads
from .frameworks import in_jax, in_onnx, in_tensorflow, in_tensorflow_autograd, in_torch, in_torch_autograd
from .recipe import (
    as_a_product,
    in_crysx_nn,
    in_cupy,
    in_cupy_kernel,
    in_cupy_maximum,
    in_numba,
    in_numpy,
    in_numpy_with_zeros,
)

# Imports, and an expression on a million elements.
OUR_FIRST = ("from rectifier import relu; import numpy as np", "relu(np.ones(1_000_000, 'f'))")
# One Relu, as onnx.helper makes it.
_ONNX_RELU = (
    b'\x08\n:/\n\x0c\n\x01x\x12\x01r"\x04Relu\x12\x01gZ\r\n\x01x\x12\x08\n\x06\x08\x01\x12\x02\n\x00b\r\n\x01r'
    b"\x12\x08\n\x06\x08\x01\x12\x02\n\x00B\x04\n\x00\x10\x11"
)


def _in_numexpr(case: Case) -> Iterator[Call]:
    import numexpr

    numexpr.set_num_threads(threads())
    # An integer in the text takes the dtype of x, a number with a point would be float64.
    text = {
        ("relu", "value"): "where(x > 0, x, 0)",
        ("relu", "derivative"): "where(x > 0, one, 0)",
        ("relu", "backward"): "where(x > 0, dy, 0)",
        ("leaky_relu", "value"): "where(x > 0, x, slope * x)",
        ("leaky_relu", "derivative"): "where(x > 0, one, slope)",
        ("leaky_relu", "backward"): "where(x > 0, dy, slope * dy)",
    }.get((case.function, case.gradient))
    if text is None or case.x.dtype.char not in "fd":
        return
    names = {"x": case.x, "dy": case.dy, "slope": case.slope, "one": case.x.dtype.type(1)}
    names = {name: value for name, value in names.items() if name in text}
    numexpr.validate(text, names, **case.into)
    if case.alone:
        yield Call(f"re_evaluate of {text}", numexpr.re_evaluate, (names,))
    if case.out is not None or not case.alone:
        yield Call(text, numexpr.evaluate, (text, names), case.into)


def _in_scipy(case: Case) -> Iterator[Call]:
    from scipy import special

    offers = {name: partial(function, special) for name, function in SCIPY.items()} | NUMPY
    if case.function in offers and case.operation == "value" and case.form in DEFAULT_FORMS:
        yield Call("SciPy's or NumPy's function", offers[case.function], (case.x,))
    elif case.function in NUMPY_BACKWARD and case.operation == "backward":
        yield Call("NumPy's operators", NUMPY_BACKWARD[case.function], (case.dy, case.y), y=case.y)


def _in_thinc(case: Case) -> Iterator[Call]:
    from thinc.api import NumpyOps

    ops, keywords = NumpyOps(), {"inplace": True} if case.form == "in_place" else {}
    if case.function != "relu" or case.x.dtype.char not in "fd" or case.form == "out":
        return
    if case.gradient == "value":
        yield Call("NumpyOps().relu(X)", ops.relu, (case.x,), keywords)
    elif case.gradient == "backward":
        yield Call("NumpyOps().backprop_relu(dY, Y)", ops.backprop_relu, (case.dy, case.y), keywords, y=case.y)


_FUSED = "its backward pass is one operator of its own; the autograd way is a row of its own"
_ON_GPU = "arrays stay on the device, CUDA events tell the time; written without a GPU at hand, so never run"
_ONE = "np.ones(1_000_000, 'f')"
_IMPORTS = "import numpy as np"
# fmt: off
BASELINES = (
    Baseline("numpy", "NumPy recipe", ("numpy",), in_numpy, (_IMPORTS, f"np.maximum(0., {_ONE})")),
    Baseline("numpy-zeros", "NumPy zeros", ("numpy",), in_numpy_with_zeros, note="the recipe without broadcasting"),
    Baseline("numba", "Numba recipe", ("numba",), in_numba,
          (_IMPORTS + "; import numba", f"numba.njit(fastmath=True)(lambda x: np.maximum(0., x))({_ONE})"),
          "fastmath: NaN and infinities are undefined; its value comes back as float64"),
    Baseline("product", "Numba x*(x>0)", ("numba",), as_a_product, note="crysx_nn's current form; NaN at -inf"),
    Baseline("crysx_nn", "crysx_nn", ("crysx_nn",), in_crysx_nn,
          (_IMPORTS + "; from crysx_nn import activation", f"activation.ReLU({_ONE}.reshape(1000, 1000))")),
    Baseline("torch", "PyTorch", ("torch",), in_torch, ("import torch", "torch.relu(torch.ones(1_000_000))"),
          "inference mode; " + _FUSED),
    Baseline("torch-autograd", "PyTorch grad", ("torch",), in_torch_autograd,
          note="backward pass alone, graph retained", quick=False),
    Baseline("torch-cuda", "PyTorch CUDA", ("torch", "cupy"), in_torch, note=_ON_GPU, gpu=True),
    Baseline("tensorflow", "TensorFlow", ("tensorflow",), in_tensorflow,
          ("import tensorflow as tf", "tf.nn.relu(tf.ones(1_000_000))"), "eager; " + _FUSED),
    Baseline("tensorflow-tape", "TF tape", ("tensorflow",), in_tensorflow_autograd,
          note="backward pass alone", quick=False),
    Baseline("jax", "JAX", ("jax",), in_jax,
          ("import jax", "jax.jit(jax.nn.relu)(jax.numpy.ones(1_000_000)).block_until_ready()")),
    Baseline("onnxruntime", "ONNX Runtime", ("onnxruntime", "onnx"), in_onnx,
          (_IMPORTS + "; import onnxruntime",
           f"onnxruntime.InferenceSession({_ONNX_RELU!r}).run(None, {{'x': {_ONE}}})"),
          "memory of results is reused; no spinning"),
    Baseline("numexpr", "numexpr", ("numexpr",), _in_numexpr,
          (_IMPORTS + "; import numexpr", f"numexpr.evaluate('where(x > 0, x, 0)', {{'x': {_ONE}}})")),
    Baseline("scipy", "SciPy", ("scipy",), _in_scipy, note="one thread", quick=False),
    Baseline("thinc", "Thinc", ("thinc",), _in_thinc,
          (_IMPORTS + "; from thinc.api import NumpyOps", f"NumpyOps().relu({_ONE}.reshape(1000, 1000))"),
          "float32 and float64; backward from y; one thread"),
    Baseline("cupy", "CuPy recipe", ("cupy",), in_cupy, note=_ON_GPU, gpu=True),
    Baseline("cupy-maximum", "CuPy maximum", ("cupy",), in_cupy_maximum, note=_ON_GPU, gpu=True),
    Baseline("cupy-kernel", "CuPy kernel", ("cupy",), in_cupy_kernel, note=_ON_GPU, gpu=True),
)
