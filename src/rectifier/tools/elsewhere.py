"""What other libraries call the functions of the catalogue: ``python -m rectifier.tools.elsewhere`` writes the page.

The table here is the one place for that. A test calls each function that it names, where its library is installed, and
compares it with ours at the parameters that are stated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from .documents import markdown_table, put_section, read_page
from .libraries import JAX, TENSORFLOW, TORCH, Offer

FILE = Path(__file__).parents[3] / "docs" / "elsewhere.md"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Same(NamedTuple):
    """A function of another library, called so that it is one of ours.

    Attributes
    ----------
    name : str
        Where it is, from the root of the library; of NumPy an expression in x, and in gate.
    keywords : mapping
        What it is called with beside the array.
    ours : mapping
        The parameters at which ours is the same; where there are none, at the defaults.
    arrays : str
        How a function of two arrays takes them: ``"gate_last"`` and ``"gate_first"`` in the halves of one array, ``"x,
        gate"`` and ``"gate, x"`` apart, in this order.
    """

    name: str
    keywords: Mapping[str, Any] = _NOTHING
    ours: Mapping[str, Any] = _NOTHING
    arrays: str = ""


class Library(NamedTuple):
    """A library: what is imported, what stands before its names, and which version was compared."""

    module: str
    prefix: str
    version: str


LIBRARIES = {
    "PyTorch": Library("torch", "torch.", "2.13.0"),
    "JAX": Library("jax", "jax.", "0.10.2"),
    "Keras": Library("keras", "keras.", "3.15.1"),
    "TensorFlow": Library("tensorflow", "tf.", "2.21.0"),
    "ONNX": Library("onnx", "", "1.23.2, opset 28"),
    "MLX": Library("mlx", "mlx.", "0.32.4"),
}


def _offered(table: Mapping[str, Offer], prefix: str = "") -> dict[str, tuple[Same, ...]]:
    return {name: (Same(prefix + offer.name, offer.keywords),) for name, offer in table.items()}


def _named(**names: Any) -> dict[str, tuple[Same, ...]]:
    """Return functions by names of ours, each of which is a `Same` or its name, or several in a tuple."""
    found = {}
    for ours, theirs in names.items():
        several = theirs if type(theirs) is tuple else (theirs,)
        found[ours] = tuple(one if isinstance(one, Same) else Same(one) for one in several)
    return found


_F = "nn.functional."
_ABOVE = {"threshold": 1, "value": -0.5}
NUMPY = _named(
    relu="np.maximum(x, 0)",
    relu6="np.clip(x, 0, 6)",
    leaky_relu="np.where(x > 0, x, 0.01 * x)",
    thresholded_relu="np.where(x > 1, x, 0)",
    squared_relu="np.maximum(x, 0) ** 2",
    hard_tanh="np.clip(x, -1, 1)",
    hard_sigmoid=("np.clip(x / 6 + 0.5, 0, 1)", Same("np.clip(0.2 * x + 0.5, 0, 1)", ours={"slope": 0.2})),
    hard_swish="x * np.clip(x + 3, 0, 6) / 6",
    hard_shrink="np.where(np.abs(x) > 0.5, x, 0)",
    soft_shrink="np.sign(x) * np.maximum(np.abs(x) - 0.5, 0)",
    tanh_shrink="x - np.tanh(x)",
    sigmoid="1 / (1 + np.exp(-x))",
    log_sigmoid="-np.logaddexp(0, -x)",
    tanh="np.tanh(x)",
    softsign="x / (1 + np.abs(x))",
    softplus=("np.log1p(np.exp(x))", "np.logaddexp(0, x)"),
    squareplus="(x + np.sqrt(x * x + 4)) / 2",
    elu="np.where(x > 0, x, np.exp(x) - 1)",
    selu="1.0507 * np.where(x > 0, x, 1.67326 * (np.exp(x) - 1))",
    silu="x / (1 + np.exp(-x))",
    gelu="x * scipy.special.ndtr(x)",
    gelu_tanh="0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))",
    quick_gelu="x / (1 + np.exp(-1.702 * x))",
    mish="x * np.tanh(np.log1p(np.exp(x)))",
    hard_mish="x * np.clip(x + 2, 0, 2) / 2",
    sqrt_softplus="np.sqrt(np.log1p(np.exp(x)))",
    exponential="np.exp(x)",
    softmax="np.exp(x - x.max(-1, keepdims=True)) / np.exp(x - x.max(-1, keepdims=True)).sum(-1, keepdims=True)",
    log_softmax="x - scipy.special.logsumexp(x, -1, keepdims=True)",
    glu=Same("x / (1 + np.exp(-gate))", arrays="x, gate"),
    reglu=Same("x * np.maximum(gate, 0)", arrays="x, gate"),
    geglu=Same("x * gate * scipy.special.ndtr(gate)", arrays="x, gate"),
    geglu_tanh=Same(
        "0.5 * x * gate * (1 + np.tanh(np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3)))", arrays="x, gate"
    ),
    swiglu=Same("x * gate / (1 + np.exp(-gate))", arrays="x, gate"),
)
TABLE: dict[str, dict[str, tuple[Same, ...]]] = {
    "PyTorch": {
        **_offered(TORCH),
        **_named(
            tanh_shrink=_F + "tanhshrink",
            threshold=Same(_F + "threshold", _ABOVE, _ABOVE),
            exponential="exp",
            softmin=Same(_F + "softmin", {"dim": -1}),
            glu=Same(_F + "glu", arrays="gate_last"),
            prelu=Same("prelu", arrays="x, gate"),
        ),
    },
    "JAX": {
        **_offered(JAX, "nn."),
        **_named(
            gelu_tanh="nn.gelu",
            sparse_plus="nn.sparse_plus",
            exponential="numpy.exp",
            glu=Same("nn.glu", arrays="gate_last"),
        ),
    },
    "Keras": _named(
        relu="ops.relu",
        relu6="ops.relu6",
        leaky_relu=(
            Same("ops.leaky_relu", ours={"negative_slope": 0.2}),
            Same("layers.LeakyReLU", ours={"negative_slope": 0.3}),
        ),
        thresholded_relu=Same("activations.relu", {"threshold": 1}),
        hard_tanh="ops.hard_tanh",
        hard_sigmoid="ops.hard_sigmoid",
        hard_swish="ops.hard_swish",
        hard_shrink="ops.hard_shrink",
        soft_shrink="ops.soft_shrink",
        tanh_shrink="ops.tanh_shrink",
        threshold=Same("ops.threshold", {"threshold": 1, "default_value": -0.5}, _ABOVE),
        sparse_plus="ops.sparse_plus",
        sigmoid="ops.sigmoid",
        log_sigmoid="ops.log_sigmoid",
        tanh="ops.tanh",
        softsign="ops.softsign",
        softplus="ops.softplus",
        squareplus="ops.squareplus",
        elu="ops.elu",
        selu="ops.selu",
        celu="ops.celu",
        silu="ops.silu",
        gelu=("activations.gelu", Same("ops.gelu", {"approximate": False})),
        gelu_tanh=(Same("activations.gelu", {"approximate": True}), "ops.gelu"),
        mish="activations.mish",
        exponential="ops.exp",
        softmax="ops.softmax",
        log_softmax="ops.log_softmax",
        glu=Same("ops.glu", arrays="gate_last"),
    ),
    "TensorFlow": {
        **_offered(TENSORFLOW),
        **_named(
            leaky_relu=(Same("nn.leaky_relu", ours={"negative_slope": 0.2}), Same("nn.leaky_relu", {"alpha": 0.01})),
            gelu="nn.gelu",
            exponential="exp",
        ),
    },
    "ONNX": _named(
        relu="Relu",
        leaky_relu="LeakyRelu",
        thresholded_relu="ThresholdedRelu",
        hard_sigmoid=Same("HardSigmoid", ours={"slope": 0.2}),
        hard_swish="HardSwish",
        hard_shrink="Shrink",
        soft_shrink=Same("Shrink", {"bias": 0.5}),
        shrink="Shrink",
        sigmoid="Sigmoid",
        tanh="Tanh",
        softsign="Softsign",
        softplus="Softplus",
        elu="Elu",
        selu="Selu",
        celu="Celu",
        silu="Swish",
        gelu="Gelu",
        gelu_tanh=Same("Gelu", {"approximate": "tanh"}),
        mish="Mish",
        exponential="Exp",
        softmax="Softmax",
        log_softmax="LogSoftmax",
        hardmax="Hardmax",
        prelu=Same("PRelu", arrays="x, gate"),
        swiglu=Same("SwiGLU", arrays="gate, x"),
    ),
    "MLX": _named(
        relu="nn.relu",
        relu6="nn.relu6",
        leaky_relu="nn.leaky_relu",
        squared_relu="nn.relu2",
        hard_tanh="nn.hard_tanh",
        hard_swish="nn.hardswish",
        hard_shrink="nn.hard_shrink",
        soft_shrink="nn.softshrink",
        sigmoid="nn.sigmoid",
        log_sigmoid="nn.log_sigmoid",
        tanh="nn.tanh",
        softsign="nn.softsign",
        softplus="nn.softplus",
        elu="nn.elu",
        selu="nn.selu",
        celu="nn.celu",
        silu="nn.silu",
        gelu="nn.gelu",
        gelu_tanh="nn.gelu_approx",
        quick_gelu="nn.gelu_fast_approx",
        mish="nn.mish",
        exponential="core.exp",
        softmax=("nn.softmax", Same("core.softmax", ours={"axis": None})),
        log_softmax="nn.log_softmax",
        softmin="nn.softmin",
        glu=Same("nn.glu", arrays="gate_last"),
    ),
}


def _written(prefix: str, same: Same) -> str:
    """Write a call as the page has it."""
    keywords = ", ".join(f"{key}={value!r}" for key, value in same.keywords.items())
    call = f"`{prefix}{same.name}({keywords})`" if keywords else f"`{prefix}{same.name}`"
    ours = ", ".join(f"{key} {value}" for key, value in same.ours.items())
    how = "" if same.arrays in ("", "x, gate") else f"({same.arrays.replace('_', ' ')})"
    return " ".join(part for part in (call, f"({ours})" if ours else "", how) if part)


def _meanings() -> Iterator[tuple[str, str, str]]:
    """List names which, without arguments, stand for several functions: the name, ours, and whose it is."""
    found: dict[str, dict[str, list[str]]] = {}
    for library, names in TABLE.items():
        for ours, theirs in names.items():
            for same in theirs:
                if same.keywords or same.arrays:
                    continue
                settings = ", ".join(f"{key}={value}" for key, value in same.ours.items())
                call = f"`{ours}({'x, ' if settings else 'x'}{settings})`"
                word = same.name.rpartition(".")[2].lower().replace("_", "")
                places = found.setdefault(word, {}).setdefault(call, [])
                places.append(f"`{LIBRARIES[library].prefix}{same.name}`" + (" of ONNX" if library == "ONNX" else ""))
    for word, calls in sorted(found.items()):
        if len(calls) > 1 and word != "shrink":  # a special case of another is no other meaning
            for call, places in calls.items():
                yield word, call, ", ".join(places)


def page(text: str) -> str:
    """Return the text of the page with its tables made anew."""
    functions = sorted({name for names in (NUMPY, *TABLE.values()) for name in names})
    rows = [
        (
            f"`{name}`",
            "<br>".join(f"`{same.name}`" + _written("", same._replace(name=""))[2:] for same in NUMPY.get(name, ())),
            *(
                "<br>".join(_written(LIBRARIES[key].prefix, same) for same in names.get(name, ()))
                for key, names in TABLE.items()
            ),
        )
        for name in functions
    ]
    versions = ", ".join(f"{name} {library.version}" for name, library in LIBRARIES.items())
    table = markdown_table(("ours", "NumPy code", *TABLE), rows, left=2 + len(TABLE))
    sections = {
        "table": f"{table}\n\nCompared were {versions}.",
        "meanings": markdown_table(("name", "is ours", "in"), _meanings(), left=3),
    }
    for name, section in sections.items():
        text = put_section(text, section, f"<!-- {name} -->", f"<!-- /{name} -->")
    return text


def _of_onnx(same: Same) -> Callable[..., Any]:
    from onnx import defs, helper
    from onnx.reference import ReferenceEvaluator

    def call(*arrays: Any) -> Any:
        names = ["x", "gate"][: len(arrays)]
        kind = helper.np_dtype_to_tensor_dtype(arrays[0].dtype)
        given, made = ([helper.make_tensor_value_info(name, kind, None) for name in some] for some in (names, ["y"]))
        graph = helper.make_graph([helper.make_node(same.name, names, ["y"], **same.keywords)], "one", given, made)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", defs.onnx_opset_version())])
        return ReferenceEvaluator(model).run(None, dict(zip(names, arrays, strict=True)))[0]

    return call


def function_of(library: str, same: Same) -> Callable[..., Any]:
    """Return a function of another library as one of NumPy's arrays.

    Raises
    ------
    ImportError
        If the library is not installed.
    """
    if library == "ONNX":
        return _of_onnx(same)
    if library == "NumPy":
        code = compile(same.name, same.name, "eval")
        words: dict[str, Any] = {"np": np}
        if "scipy" in same.name:
            words["scipy"] = import_module("scipy")
            import_module("scipy.special")
        return lambda *arrays: eval(code, words | dict(zip(("x", "gate"), arrays, strict=False)))
    root = LIBRARIES[library].module
    if library == "MLX":
        folder, _, name = same.name.partition(".")
        found, convert = getattr(import_module(f"{root}.{folder}"), name), import_module("mlx.core").array
    else:
        module = import_module(root)
        found = attrgetter(same.name)(module)
        convert = {"PyTorch": getattr(module, "from_numpy", None)}.get(library) or (lambda array: array)
        found = found() if isinstance(found, type) else found  # a layer
    return lambda *arrays: np.asarray(found(*map(convert, arrays), **same.keywords))


if __name__ == "__main__":
    FILE.write_text(page(read_page(FILE)), encoding="utf-8")
