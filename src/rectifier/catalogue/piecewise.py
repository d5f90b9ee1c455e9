"""Rectifiers: pieces of straight lines."""

from __future__ import annotations

from ..formulas import T, abs, fma, product, product_parts, quotient, stored, unordered_sum_parts, where
from ..functions.define import INF, NAN, elementwise
from ..functions.required import Required

__all__ = [
    "hard_mish",
    "hard_shrink",
    "hard_sigmoid",
    "hard_swish",
    "hard_tanh",
    "leaky_relu",
    "relu",
    "relu6",
    "shrink",
    "soft_shrink",
    "sparse_plus",
    "squared_relu",
    "threshold",
    "thresholded_relu",
]


_ONE, _LESS = Required(1.0), Required(-0.5)  # for pictures and figures of `threshold`


def _or_nan(x, parameter):
    return where(parameter == parameter, x, parameter)


@elementwise(
    exact=lambda m, x: m.where(x > 0, x, 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, 0.0)),
    # Any value in [0, 1] is a subgradient; 0 trains best (Bertoin et al. 2021, arXiv 2106.12915).
    kinks=((0.0, 0.0),),
    ulp=0,
    backward_from=("x", "y", "mask"),
    selects=True,
)
def relu(x):
    """Rectified linear unit: x where x is positive, 0 elsewhere.

    References
    ----------
    V. Nair and G. E. Hinton, "Rectified linear units improve restricted Boltzmann machines", ICML 2010.
    """
    return where(x <= T(0), T(0), x)


@relu.derivative
def relu_derivative(x):
    return where(x <= T(0), T(0), where(x == x, T(1), x))


@elementwise(
    exact=lambda m, x, negative_slope: m.where(x > 0, x, negative_slope * x),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, -0.0)),
    kinks=((0.0, 0.01),),
    ulp=0,
    backward_from=("x", "y", "mask"),
    y_determines=lambda negative_slope: negative_slope >= T(0),
    mask=lambda x, negative_slope: (x <= T(0), negative_slope, T(1)),
)
def leaky_relu(x, negative_slope=0.01):
    """Leaky rectified linear unit: x where x is positive, negative_slope * x elsewhere.

    With an array of slopes it is the parametric ReLU (PReLU). The default slope is that of PyTorch and
    JAX; Keras and TensorFlow take 0.2.

    References
    ----------
    A. L. Maas, A. Y. Hannun and A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic
    models", ICML 2013.
    """
    # A slope of 0 is the ReLU, and 0 * -inf would be NaN.
    return where(x <= T(0), where(negative_slope == T(0), T(0), negative_slope * x), x)


@leaky_relu.derivative
def leaky_relu_derivative(x, negative_slope):
    return where(x <= T(0), negative_slope, where(x == x, T(1), x))


@elementwise(
    exact=lambda m, x: m.where(x > 0, m.where(x < 6, x, 6), 0),
    special=((NAN, NAN), (INF, 6.0), (-INF, 0.0), (-0.0, 0.0)),
    kinks=((0.0, 0.0), (6.0, 0.0)),
    ulp=0,
    backward_from=("x", "y", "mask"),
    mask=lambda x: ((x <= T(0)) | (x >= T(6)), T(0), T(1)),
    selects=True,
)
def relu6(x):
    """Rectified linear unit, at most 6.

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", 2010.
    """
    return where(x <= T(0), T(0), where(x >= T(6), T(6), x))


@relu6.derivative
def relu6_derivative(x):
    return where((x <= T(0)) | (x >= T(6)), T(0), where(x == x, T(1), x))


@elementwise(
    exact=lambda m, x, threshold: m.where(x > threshold, x, 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (1.0, 0.0)),
    kinks=((1.0, 0.0),),
    ulp=0,
    backward_from=("x", "y", "mask"),
    y_determines=lambda threshold: threshold >= T(0),
    mask=lambda x, threshold: (x <= threshold, T(0), T(1)),
    selects=True,
)
def thresholded_relu(x, threshold=1.0):
    """Thresholded rectified linear unit: x where x is above the threshold, 0 elsewhere.

    The default is that of ONNX and Keras.

    References
    ----------
    K. Konda, R. Memisevic and D. Krueger, "Zero-bias autoencoders and the benefits of co-adapting features", ICLR 2015.
    """
    return where(x <= threshold, T(0), _or_nan(x, threshold))


@thresholded_relu.derivative
def thresholded_relu_derivative(x, threshold):
    return where(x <= threshold, T(0), where(x == x, _or_nan(T(1), threshold), x))


@elementwise(
    exact=lambda m, x: m.where(x > 0, x * x, 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, 0.0)),
    ulp=0,
)
def squared_relu(x):
    """Squared rectified linear unit: x^2 where x is positive, 0 elsewhere.

    References
    ----------
    D. R. So et al., "Primer: searching for efficient transformers for language modeling", NeurIPS 2021.
    """
    return where(x <= T(0), T(0), x * x)


@squared_relu.derivative
def squared_relu_derivative(x):
    return where(x <= T(0), T(0), x + x)


@elementwise(
    exact=lambda m, x, low, high: m.where(x > low, m.where(x < high, x, high), low),
    special=((NAN, NAN), (INF, 1.0), (-INF, -1.0), (-0.0, -0.0)),
    kinks=((-1.0, 0.0), (1.0, 0.0)),
    ulp=0,
    backward_from=("x", "y", "mask"),
    mask=lambda x, min_value, max_value: ((x <= min_value) | (x >= max_value), T(0), T(1)),
    selects=True,
)
def hard_tanh(x, min_value=-1.0, max_value=1.0):
    """Hard hyperbolic tangent: x, at least `min_value` and at most `max_value`.

    References
    ----------
    R. Collobert, "Large scale machine learning", thesis, Université Paris 6, 2004.
    """
    return where(x <= min_value, min_value, where(x >= max_value, max_value, _or_nan(_or_nan(x, max_value), min_value)))


@hard_tanh.derivative
def hard_tanh_derivative(x, min_value, max_value):
    one = _or_nan(_or_nan(T(1), max_value), min_value)
    return where((x <= min_value) | (x >= max_value), T(0), where(x == x, one, x))


def _clipped(m, y):
    return m.where(y > 0, m.where(y < 1, y, 1), 0)


def _sixth(slope):
    # The slope that the dtype of x has for 1/6 is 1/6.
    return slope == stored(1 / 6)


@elementwise(
    exact=lambda m, x, slope, offset: _clipped(m, m.where(slope == 1 / 6, (x + 6 * offset) / 6, slope * x + offset)),
    special=((NAN, NAN), (INF, 1.0), (-INF, 0.0), (-0.0, 0.5), (-3.0, 0.0), (3.0, 1.0)),
    kinks=((-3.0, 0.0), (3.0, 0.0)),
    ulp=(1, 1, 0.5, 0.5),  # 0.67 at the defaults
    unrounded=("slope",),
)
def hard_sigmoid(x, slope=1 / 6, offset=0.5):
    """Hard sigmoid: slope * x + offset, at least 0 and at most 1.

    The defaults are those of PyTorch, JAX and Keras 3, ``relu6(x + 3) / 6``: a slope of 1/6 is that number, also in
    dtypes that hold it badly. ONNX and earlier Keras have a slope of 0.2. At 0 and 1 the derivative is 0.

    References
    ----------
    M. Courbariaux, Y. Bengio and J.-P. David, "BinaryConnect", NeurIPS 2015.
    """
    # Beyond this y is 0 or 1; an infinite x would make NaN of a slope of 0.
    enough = T(1) + (abs(offset) + T(2)) / abs(where(slope == T(0), T(1), slope))
    bounded = where(x > enough, enough, x)
    bounded = where(bounded < -enough, -enough, bounded)
    # 1/6 lies between these; what the one below lacks is then added, rounded up, so that -3 gives at most 0.
    one, other = T(1 / 6), T(0.5) - T(1 / 3)
    below, above = where(one < other, one, other), where(one < other, other, one)
    y = fma(where(_sixth(slope), below, slope), where(_sixth(slope), x, bounded), offset)
    y = fma(fma(T(-6), below, T(1)) * above, where(_sixth(slope), x, T(0)), y)
    y = where(y < T(0), T(0), y)
    return where(y > T(1), T(1), y)


@hard_sigmoid.derivative
def hard_sigmoid_derivative(x, slope, offset):
    # With a slope of 1/6 it is x that is compared, since next to 3 y is rounded to 1.
    y = fma(where(_sixth(slope), T(1), slope), x, where(_sixth(slope), T(0), offset))
    low = where(_sixth(slope), T(-6) * offset, T(0))
    high = where(_sixth(slope), fma(T(-6), offset, T(6)), T(1))
    # Where an infinite slope gives neither 0 nor 1, it gives NaN.
    slope = _or_nan(_or_nan(where(_sixth(slope), T(1 / 6), slope), T(0) * slope), offset)
    return where((y <= low) | (y >= high), T(0), where(x == x, slope, x))


@elementwise(
    exact=lambda m, x: m.where(x > -3, m.where(x < 3, x * (x + 3) / 6, x), 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, -0.0)),
    kinks=((-3.0, 0.0), (3.0, 1.0)),
    zeros=(-1.5,),
    ulp=(0.6, 2, 0.6, 1),
    wide=True,
    single=True,
)
def hard_swish(x):
    """Hard swish: x times its hard sigmoid.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """
    y, lost = product_parts(x, T(0), *unordered_sum_parts(x, T(3), T(0)))
    y = quotient(y, lost, T(6), T(0))
    return where(x <= T(-3), T(0), where(x >= T(3), x, y))


@hard_swish.derivative
def hard_swish_derivative(x):
    y, lost = unordered_sum_parts(x + x, T(3), T(0))
    y = quotient(y, lost, T(6), T(0))
    return where(x <= T(-3), T(0), where(x >= T(3), T(1), y))


@elementwise(
    exact=lambda m, x: m.where(x > -2, m.where(x < 0, x * (x + 2) / 2, x), 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, -0.0)),
    kinks=((-2.0, 0.0),),
    ulp=(0.6, 2, 0.6, 1),
    wide=True,
    single=True,
)
def hard_mish(x):
    """Hard mish: x times (x + 2) / 2, which is at least 0 and at most 1 here.

    References
    ----------
    D. Misra, "H-Mish", https://github.com/digantamisra98/H-Mish, 2020.
    R. Wightman, "PyTorch image models" (timm), https://github.com/huggingface/pytorch-image-models.
    """
    a, lost = unordered_sum_parts(x, T(2), T(0))
    y = product(x, T(0), T(0.5) * a, T(0.5) * lost)
    return where(x <= T(-2), T(0), where(x >= T(0), x, y))


@hard_mish.derivative
def hard_mish_derivative(x):
    return where(x <= T(-2), T(0), where(x >= T(0), T(1), x + T(1)))


@elementwise(
    exact=lambda m, x: m.where(x > -1, m.where(x < 1, (x + 1) * (x + 1) / 4, x), 0),
    special=((NAN, NAN), (INF, INF), (-INF, 0.0), (-0.0, 0.25), (-1.0, 0.0), (1.0, 1.0)),
    ulp=(0.6, 2, 0.6, 1),
    wide=True,
    single=True,
)
def sparse_plus(x):
    """Sparse plus: 0 below -1, x above 1, and (x + 1)^2 / 4 between. Its derivative has no jump.

    References
    ----------
    A. F. T. Martins and R. F. Astudillo, "From softmax to sparsemax", ICML 2016 (of which it is the integral for two
    classes; the name is that of JAX and Keras).
    """
    a, lost = unordered_sum_parts(x, T(1), T(0))
    y = product(T(0.25) * a, T(0.25) * lost, a, lost)
    return where(x <= T(-1), T(0), where(x >= T(1), x, y))


@sparse_plus.derivative
def sparse_plus_derivative(x):
    return where(x <= T(-1), T(0), where(x >= T(1), T(1), T(0.5) * (x + T(1))))


def _within(x, threshold):
    # abs(x) <= threshold; of integers, neither the least nor an unsigned one has a negative.
    return (x <= threshold) & ((x >= T(0)) | (x >= T(0) - where(threshold < T(0), T(0), threshold)))


@elementwise(
    exact=lambda m, x, threshold: m.where(m.abs(x) > threshold, x, 0),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, 0.0)),
    kinks=((-0.5, 0.0), (0.5, 0.0)),
    ulp=0,
    backward_from=("x", "y", "mask"),
    y_determines=lambda threshold: threshold >= T(0),
    mask=lambda x, threshold: (_within(x, threshold), T(0), T(1)),
    selects=True,
)
def hard_shrink(x, threshold=0.5):
    """Hard shrinkage: 0 where x is at most `threshold` in magnitude, x elsewhere.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994).
    """
    return where(_within(x, threshold), T(0), _or_nan(x, threshold))


@hard_shrink.derivative
def hard_shrink_derivative(x, threshold):
    return where(_within(x, threshold), T(0), where(x == x, _or_nan(T(1), threshold), x))


@elementwise(
    exact=lambda m, x, threshold: m.where(m.abs(x) > threshold, m.where(x > 0, x - threshold, x + threshold), 0),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, 0.0)),
    kinks=((-0.5, 0.0), (0.5, 0.0)),
    ulp=0,
    backward_from=("x", "mask"),
    mask=lambda x, threshold: (_within(x, threshold), T(0), T(1)),
)
def soft_shrink(x, threshold=0.5):
    """Soft shrinkage: x, `threshold` nearer to 0, and 0 where it is nearer already.

    References
    ----------
    D. L. Donoho, "De-noising by soft-thresholding", IEEE Trans. Information Theory 41 (1995).
    """
    return where(_within(x, threshold), T(0), where(x > T(0), x - threshold, x + threshold))


@soft_shrink.derivative
def soft_shrink_derivative(x, threshold):
    return where(_within(x, threshold), T(0), where(x == x, _or_nan(T(1), threshold), x))


@elementwise(
    exact=lambda m, x, threshold, bias: m.where(m.abs(x) > threshold, m.where(x > 0, x - bias, x + bias), 0),
    special=((NAN, NAN), (INF, INF), (-INF, -INF), (-0.0, 0.0)),
    kinks=((-0.5, 0.0), (0.5, 0.0)),
    ulp=0,
    backward_from=("x", "mask"),
    mask=lambda x, threshold, bias: (_within(x, threshold), T(0), T(1)),
)
def shrink(x, threshold=0.5, bias=0.0):
    """Shrinkage: x, `bias` nearer to 0, and 0 where it is at most `threshold` in magnitude.

    With a bias of 0 it is `hard_shrink`, with one of `threshold` it is `soft_shrink`.

    References
    ----------
    ONNX, operator Shrink, https://onnx.ai/onnx/operators/onnx__Shrink.html, version 9.
    """
    kept = _or_nan(x, threshold)
    return where(_within(x, threshold), T(0), where(x > T(0), kept - bias, kept + bias))


@shrink.derivative
def shrink_derivative(x, threshold, bias):
    one = _or_nan(_or_nan(T(1), threshold), bias)
    return where(_within(x, threshold), T(0), where(x == x, one, x))


@elementwise(
    exact=lambda m, x, threshold, value: m.where(x > threshold, x, value),
    special=((NAN, NAN), (INF, INF), (-INF, -0.5), (-0.0, -0.5), (1.0, -0.5)),
    kinks=((1.0, 0.0),),
    ulp=0,
    backward_from=("x", "mask"),
    mask=lambda x, threshold, value: (x <= threshold, _or_nan(T(0), value), T(1)),
    selects=True,
)
def threshold(x, threshold=_ONE, value=_LESS):
    """Threshold: x where x is above the threshold, `value` elsewhere.

    Both have to be given, as in PyTorch. With a value of 0 it is `thresholded_relu`.

    References
    ----------
    PyTorch, ``torch.nn.functional.threshold``.
    """
    return where(x <= threshold, value, _or_nan(x, threshold))


@threshold.derivative
def threshold_derivative(x, threshold, value):
    return where(x <= threshold, _or_nan(T(0), value), where(x == x, _or_nan(T(1), threshold), x))
