"""PyTorch's own sample inputs of activation functions (torch.testing, op_db), with their options and shapes.

Values and gradients of PyTorch's function are compared with ours: of NumPy's arrays, and of tensors by autograd.
"""

from __future__ import annotations

import collections

import numpy as np
import pytest

import rectifier

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of the module of samples
    pytest.mark.filterwarnings("ignore::UserWarning:torch"),
]


def _softplus(beta=1, threshold=20):
    return {"beta": float(beta)}


def _plain(**options):
    options.pop("inplace", None)
    return options


# PyTorch's name, its variant: our function, and our options for its, None where we have no such.
SAMPLES = {
    ("nn.functional.celu", ""): ("celu", _plain),
    ("nn.functional.elu", ""): ("elu", _plain),
    ("nn.functional.gelu", ""): (None, lambda approximate="none": {}),
    ("nn.functional.hardshrink", ""): ("hard_shrink", lambda lambd=0.5: {"threshold": lambd}),
    ("nn.functional.hardsigmoid", ""): ("hard_sigmoid", _plain),
    ("nn.functional.hardswish", ""): ("hard_swish", _plain),
    ("nn.functional.hardtanh", ""): (
        "hard_tanh",
        lambda min_val=-1.0, max_val=1.0, inplace=False: {"min_value": min_val, "max_value": max_val},
    ),
    ("nn.functional.leaky_relu", ""): ("leaky_relu", _plain),
    ("nn.functional.logsigmoid", ""): ("log_sigmoid", _plain),
    ("nn.functional.mish", ""): ("mish", _plain),
    ("nn.functional.relu", ""): ("relu", _plain),
    ("nn.functional.relu6", ""): ("relu6", _plain),
    ("nn.functional.selu", ""): ("selu", _plain),
    ("nn.functional.silu", ""): ("silu", _plain),
    ("nn.functional.softplus", ""): ("softplus", _softplus),
    ("nn.functional.softshrink", ""): ("soft_shrink", lambda lambd=0.5: {"threshold": lambd}),
    ("nn.functional.softsign", ""): ("softsign", _plain),
    ("nn.functional.glu", ""): ("glu", _plain),
    ("nn.functional.prelu", ""): ("prelu", _plain),
    ("sigmoid", ""): ("sigmoid", _plain),
    ("exp", ""): ("exponential", _plain),
    ("tanh", ""): ("tanh", _plain),
    ("nn.functional.threshold", ""): ("threshold", lambda threshold, value: {"threshold": threshold, "value": value}),
    ("nn.functional.tanhshrink", ""): ("tanh_shrink", _plain),
    ("softmax", ""): ("softmax", _plain),
    ("log_softmax", ""): ("log_softmax", _plain),
}
# Gradients at these are a convention, and theirs is another.
KINKS = {
    "celu": (0.0,), "elu": (0.0,), "hard_sigmoid": (-3.0, 3.0), "hard_swish": (-3.0, 3.0),
}  # fmt: skip
TOLERANCES = {"float64": 1e-12, "float32": 4e-6, "bfloat16": 3e-2}
SINGLE = {"hard_sigmoid"}  # PyTorch's gradient takes a sixth in float32 for float64 too


def numbers(tensor):
    """See a tensor as NumPy's array; bfloat16 as that of ml_dtypes."""
    tensor = tensor.detach().contiguous()
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(pytest.importorskip("ml_dtypes").bfloat16)
    return tensor.numpy()


def ours(name, sample, options):
    """Give our function of the sample's tensors, and those."""
    if name == "glu":
        dim = options.pop("dim", sample.args[0] if sample.args else -1)
        return (lambda x: rectifier.glu(*split(x, dim))), [sample.input]
    if name == "prelu":
        weight = sample.args[0] if sample.args else sample.kwargs["weight"]

        def prelu(x, slope):
            return rectifier.prelu(x, channels(x, slope))

        return prelu, [sample.input, weight]
    if name in ("softmax", "log_softmax"):
        axis = options.pop("dim", sample.args[0] if sample.args else None)
        return (lambda x: getattr(rectifier, name)(x, axis=axis)), [sample.input]
    return (lambda x: getattr(rectifier, name)(x, **options)), [sample.input]


def alike(name, x, sample):
    """Say where PyTorch's function is ours: where beta x is beyond a threshold, its softplus is x."""
    x = x.astype("f8")
    if name != "softplus":
        return np.ones(x.shape, bool)
    return sample.kwargs.get("beta", 1) * x <= sample.kwargs.get("threshold", 20)


def channels(x, slope):
    """Lay the slopes along the second axis, as PyTorch does."""
    one = x.ndim < 2 or max(slope.shape, default=1) == 1
    return slope if one else slope.reshape([1, -1] + [1] * (x.ndim - 2))


def split(x, dim):
    return np.split(x, 2, axis=dim) if isinstance(x, np.ndarray) else torch.chunk(x, 2, dim)


def backward(name, dy, arrays, options, dim):
    """Compute our gradients of NumPy's arrays."""
    f = getattr(rectifier, name)
    if name == "glu":
        return [np.concatenate(f.backward(dy, *split(arrays[0], dim)), axis=dim)]
    if name in ("softmax", "log_softmax"):
        return [f.backward(dy, y=f(arrays[0], axis=dim), axis=dim)]
    if name == "prelu":
        x, slope = arrays
        shape = slope.shape
        dx, dslope = f.backward(dy, x, channels(x, slope))
        return [dx, dslope.reshape(shape)]
    return [f.backward(dy, arrays[0], **options)]


@pytest.mark.parametrize("precision", TOLERANCES)
def test_samples_agree(precision):
    database = pytest.importorskip("torch.testing._internal.common_methods_invocations").op_db
    kind, gradients = getattr(torch, precision), 0
    ran: collections.Counter[str] = collections.Counter()
    skipped: collections.Counter[str] = collections.Counter()
    for op in database:
        key = (op.name, op.variant_test_name)
        if key not in SAMPLES or kind not in op.supported_dtypes("cpu"):
            continue
        name, translate = SAMPLES[key]
        for sample in op.sample_inputs("cpu", kind, requires_grad=True):
            row = name in ("softmax", "log_softmax", "glu", "prelu")
            options = dict(sample.kwargs) if row else translate(*sample.args, **sample.kwargs)
            known = name or {"none": "gelu", "tanh": "gelu_tanh"}[sample.kwargs.get("approximate", "none")]
            limit = max(TOLERANCES[precision], 2.0**-24 if known in SINGLE else 0)
            if (
                options is None
                or options.get("dtype") is not None
                or (sample.input.ndim == 0 and name in ("glu", "prelu"))
            ):
                skipped[known] += 1
                continue
            options.pop("dtype", None)
            options = {} if known == "prelu" else options
            if known in ("softmax", "log_softmax", "glu"):
                dim = options.get("dim", sample.args[0] if sample.args else -1)
            else:
                dim = None
            theirs = op(sample.input, *sample.args, **sample.kwargs)
            call, tensors = ours(known, sample, options)
            arrays = [numbers(tensor) for tensor in tensors]
            context = f"{known} {precision} {tuple(sample.input.shape)} {sample.args} {sample.kwargs}"

            def near(actual, expected, where=True, context=context, limit=limit):
                actual, expected = np.asarray(actual, "f8"), np.asarray(expected, "f8")
                np.testing.assert_allclose(
                    actual[np.broadcast_to(where, actual.shape)],
                    expected[np.broadcast_to(where, expected.shape)],
                    rtol=limit, atol=limit * max(1, np.abs(expected).max(initial=0)), err_msg=context,
                )  # fmt: skip

            y = call(*arrays)
            assert y.shape == tuple(theirs.shape), context
            where = alike(known, arrays[0], sample) if y.shape == arrays[0].shape else True
            near(y, numbers(theirs), where)
            dy = torch.ones_like(theirs) * 0.75
            wanted = [place for place, tensor in enumerate(tensors) if tensor.requires_grad]  # a number's does not
            expected = torch.autograd.grad(theirs, [tensors[place] for place in wanted], dy)
            tensor_y = call(*tensors)
            near(numbers(tensor_y), numbers(theirs), where)
            by_tensors = torch.autograd.grad(tensor_y, [tensors[place] for place in wanted], dy)
            by_numpy = backward(known, numbers(dy), arrays, options, dim)
            away = ~np.isin(arrays[0].astype("f8"), KINKS.get(known, ())) & where
            for place, right, by_tensor in zip(wanted, expected, by_tensors, strict=True):
                for found in (numbers(by_tensor), by_numpy[place]):
                    near(found, numbers(right), away if found.shape == away.shape else True)
            gradients += len(wanted)
            ran[known] += 1
    expected = {name for name, _ in SAMPLES.values() if name} | {"gelu", "gelu_tanh"}
    print(f"{precision}: ran {dict(ran)}, with {gradients} gradients; without a like of ours {dict(skipped)}")
    assert set(ran) == expected, (expected - set(ran), skipped)
    assert gradients >= sum(ran.values())
    assert sum(ran.values()) >= 140
    assert sum(skipped.values()) <= 12
