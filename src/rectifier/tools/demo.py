"""The computations of ``rectifier demo``: train a network with this library, and time this library.

The network is written out in plain NumPy, to show what the calls are for. The timings set the default
calls against the recipe for NumPy and Numba that this library grew from. Nothing here prints: `run`
returns everything, and whoever shows it takes its wording from `rows` and `notes`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import Mask, relu
from . import digits
from .bench.baselines import BASELINES
from .bench.points import Point
from .bench.timing import measure
from .documents import three_digits
from .machine import Machine, describe
from .pictures import BLUE, FAINT, INK, ORANGE, STYLE, save_figure
from .progress import Start, silent

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.float32]

SHAPES = ((32, 64), (64, 256), (256, 1024), (1024, 2048), (4096, 4096))
EPOCHS = 30
CALLS = ("value", "derivative", "backward")
SECONDS_PER_ROW = 0.8  # of three calls on each shape: 12 s at most, since most are known well before
TITLE = "ReLU: the recipe's time against ours"
HEADER = ("call", "shape", "NumPy µs", "Numba µs", "ours µs", "vs NumPy", "vs Numba")


@dataclass(frozen=True)
class Training:
    """The result of training.

    Attributes
    ----------
    widths : tuple of int
        Inputs, hidden units and classes.
    epochs, batch_samples, training_samples, test_samples : int
        How long, and on what.
    test_accuracy : float
        Part of the test samples that is classified correctly.
    mask_bytes_per_step, x_bytes_per_step : int
        What the masks of one full batch took, and what keeping the inputs of each ReLU would have taken.
    dead_units, hidden_units : int
        Hidden units that no training sample turns on, of how many.
    """

    widths: tuple[int, ...]
    epochs: int
    batch_samples: int
    training_samples: int
    test_samples: int
    test_accuracy: float
    mask_bytes_per_step: int
    x_bytes_per_step: int
    dead_units: int
    hidden_units: int


@dataclass(frozen=True)
class Timing:
    """One call on one shape: "ours", "numpy" and "numba" side by side.

    Attributes
    ----------
    call : str
        value, derivative or backward.
    shape : tuple of int
        Of the float32 batch.
    rounds : int
        How often each was timed at least.
    microseconds : dict
        Median time of a call.
    times_faster : dict
        For each baseline, the median over the rounds of its time divided by ours in the same round; below 1
        ours is slower.
    dtypes : dict
        Of the results.
    """

    call: str
    shape: tuple[int, int]
    rounds: int
    microseconds: dict[str, float]
    times_faster: dict[str, float]
    dtypes: dict[str, str]


@dataclass(frozen=True)
class Demo:
    """All results of the demo, the machine, and the paths of the pictures."""

    machine: Machine
    training: Training
    timings: tuple[Timing, ...]
    pictures: tuple[str, ...]
    seconds: float


def run(
    output: Path,
    epochs: int = EPOCHS,
    shapes: Sequence[tuple[int, int]] = SHAPES,
    seconds_per_row: float = SECONDS_PER_ROW,
    start: Start = silent,
) -> Demo:
    """Train, time and draw.

    Parameters
    ----------
    output : Path
        Directory for the pictures, which exists.
    epochs, shapes, seconds_per_row
        As `train` and `time_calls` take them.
    start : Start
        Starts each stage.

    Returns
    -------
    Demo
    """
    started = perf_counter()
    training = train(epochs, advance=start("training", epochs))
    timings = tuple(time_calls(shapes, seconds_per_row, advance=start("timing", len(CALLS) * len(shapes))))
    machine = describe()
    figures = {"relu": draw_function(), "timings": draw_timings(timings, machine)}
    pictures = tuple(str(path) for name, figure in figures.items() for path in save_figure(figure, output / name))
    return Demo(machine, training, timings, pictures, perf_counter() - started)


@dataclass
class _Layer:
    """Weights, bias, and their velocities under gradient descent with momentum."""

    w: Array
    b: Array
    vw: Array
    vb: Array


def train(
    epochs: int = EPOCHS,
    hidden: tuple[int, ...] = (128, 128),
    batch_samples: int = 32,
    step: float = 0.05,
    momentum: float = 0.9,
    seed: int = 0,
    advance: Callable[[], object] = lambda: None,
) -> Training:
    """Train a multi-layer perceptron on the 1,797 handwritten digits of scikit-learn.

    Parameters
    ----------
    epochs : int
        Passes over the training samples.
    hidden : tuple of int
        Units of each hidden layer.
    batch_samples : int
        Samples of a gradient step.
    step, momentum : float
        Of gradient descent.
    seed : int
        For the weights and the order of the samples.
    advance : callable
        Called after each epoch.

    Returns
    -------
    Training
    """
    images, labels = digits.load()
    rng = np.random.default_rng(seed)
    train, test = digits.split(labels, 0.2, rng)
    x_train, x_test, labels_train, labels_test = images[train], images[test], labels[train], labels[test]
    widths = (images.shape[1], *hidden, int(labels.max()) + 1)
    layers = [_layer(rng, fan_in, fan_out) for fan_in, fan_out in pairwise(widths)]
    with _one_thread():
        for _ in range(epochs):
            order = rng.permutation(len(x_train))
            for batch in np.split(order, range(batch_samples, len(order), batch_samples)):
                logits, kept = _forward(layers, x_train[batch])
                _descend(layers, kept, _cross_entropy_gradient(logits, labels_train[batch]), step, momentum)
            advance()

    logits, _ = _forward(layers, x_test)
    _, kept = _forward(layers, x_train)
    _, kept_of_batch = _forward(layers, x_train[:batch_samples])
    return Training(
        widths=widths,
        epochs=epochs,
        batch_samples=batch_samples,
        training_samples=len(x_train),
        test_samples=len(x_test),
        test_accuracy=float(np.mean(logits.argmax(axis=1) == labels_test)),
        mask_bytes_per_step=sum(mask.nbytes for _, mask in kept_of_batch if mask),
        x_bytes_per_step=sum(mask.size * images.itemsize for _, mask in kept_of_batch if mask),
        dead_units=sum(int(np.sum(mask.count(axis=0) == 0)) for _, mask in kept if mask),
        hidden_units=sum(hidden),
    )


def _one_thread() -> AbstractContextManager[object]:
    """Let the products of small matrices take one thread: several wait for one another longer than they compute."""
    try:
        from threadpoolctl import threadpool_limits  # scikit-learn brings it
    except ImportError:
        return nullcontext()
    limits: AbstractContextManager[object] = threadpool_limits(1, "blas")
    return limits


def _layer(rng: np.random.Generator, fan_in: int, fan_out: int) -> _Layer:
    # He et al. 2015, arXiv 1502.01852: a ReLU halves the variance, so weights start with twice as much.
    w = rng.normal(0, np.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32)
    b = np.zeros(fan_out, np.float32)
    return _Layer(w, b, np.zeros_like(w), np.zeros_like(b))


def _forward(layers: Sequence[_Layer], x: Array) -> tuple[Array, list[tuple[Array, Mask | None]]]:
    """Return the logits, and for the backward pass the input and the mask of each layer."""
    kept: list[tuple[Array, Mask | None]] = []
    for layer in layers[:-1]:
        y, mask = relu.with_mask(x @ layer.w + layer.b)
        kept.append((x, mask))
        x = y
    kept.append((x, None))
    return x @ layers[-1].w + layers[-1].b, kept


def _cross_entropy_gradient(logits: Array, labels: NDArray[Any]) -> Array:
    p: Array = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    p /= len(labels)
    return p


def _descend(
    layers: Sequence[_Layer], kept: Sequence[tuple[Array, Mask | None]], dy: Array, step: float, momentum: float
) -> None:
    for layer, (x, mask) in zip(reversed(layers), reversed(kept), strict=True):
        if mask is not None:
            dy = relu.backward(dy, mask=mask)
        dw, db = x.T @ dy, dy.sum(axis=0)
        dy = dy @ layer.w.T
        for parameter, velocity, gradient in ((layer.w, layer.vw, dw), (layer.b, layer.vb, db)):
            velocity *= momentum
            velocity -= step * gradient
            parameter += velocity


def time_calls(
    shapes: Sequence[tuple[int, int]] = SHAPES,
    seconds_per_row: float = SECONDS_PER_ROW,
    advance: Callable[[], object] = lambda: None,
) -> Iterator[Timing]:
    """Time value, derivative and backward against the recipe, on float32 batches, as `bench.timing.measure` does.

    Parameters
    ----------
    shapes : pairs of int
        Samples and units.
    seconds_per_row : float
        How long to go on with one call on one shape; some rounds are timed in any case.
    advance : callable
        Called after each row.

    Yields
    ------
    Timing

    Raises
    ------
    NotMeasuredError
        If the outputs of a baseline and ours differ.
    """
    baselines = [one for one in BASELINES if one.name in ("numpy", "numba") and not one.missing()]
    for shape in shapes:
        for call in CALLS:
            point = Point("relu", call, "default", "hot", "float32", *shape)
            seconds = seconds_per_row / len(baselines)
            found = {one.name: measure(one, point, seconds, 2e-3) for one in baselines}
            nanoseconds = {name: m.baseline_nanoseconds for name, m in found.items()}
            nanoseconds["ours"] = tuple(rounds for m in found.values() for rounds in m.ours_nanoseconds)
            yield Timing(
                call=call,
                shape=shape,
                rounds=min(len(rounds) for m in found.values() for rounds in m.ratios),
                microseconds={
                    name: statistics.median(map(statistics.median, processes)) / 1e3
                    for name, processes in nanoseconds.items()
                },
                times_faster={name: m.times_faster for name, m in found.items()},
                dtypes={"ours": point.dtype, **{name: m.baseline_dtype for name, m in found.items()}},
            )
            advance()


def rows(timings: Sequence[Timing]) -> list[tuple[str, ...]]:
    """Write timings out as the cells of a table under `HEADER`, call by call."""
    return [
        (
            timing.call,
            f"{timing.shape[0]} x {timing.shape[1]}",
            *(three_digits(timing.microseconds.get(name)) for name in ("numpy", "numba", "ours")),
            *(_ratio(timing.times_faster.get(name)) for name in ("numpy", "numba")),
        )
        for timing in sorted(timings, key=lambda timing: CALLS.index(timing.call))
    ]


def _ratio(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}x"


def ours_is_slower(cell: str) -> bool | None:
    """Return whether a cell of `rows` is a ratio below 1; None for a cell that is no ratio."""
    return float(cell[:-1]) < 1 if cell.endswith("x") else None


def notes(timings: Sequence[Timing], machine: Machine) -> list[str]:
    """Return the conditions of the timings, and where ours is slower."""
    how = "compiled" if machine.engine == "llvm" else "interpreted by NumPy, not compiled"
    used = machine.threads["used"]
    threads = f"{used} thread{'' if used == 1 else 's'}"
    ratios = [ratio for timing in timings for ratio in timing.times_faster.values()]
    dtypes = {
        f"; the recipe's {timing.call} with {name.title()} is {dtype}, ours {timing.dtypes['ours']}"
        for timing in timings
        for name, dtype in timing.dtypes.items()
        if dtype != timing.dtypes["ours"]
    }
    return [
        f"One process, {threads} a call; ours is {how} (engine {machine.engine}: {machine.engine_reason}).",
        f"float32, each call makes its output. {machine.processor}, {machine.simd}.",
        "vs: the recipe's time divided by ours, median over rounds; below 1x ours is slower.",
        f"Ours is slower in {sum(ratio < 1 for ratio in ratios)} of {len(ratios)} comparisons.",
        f"All results have equal values{''.join(sorted(dtypes))}.",
    ]


def draw_function() -> Figure:
    """Draw ReLU and its derivative, with their values at 0."""
    from matplotlib import style
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    zero = np.zeros(1, np.float32)
    below = np.array([-3, 0], np.float32)
    above = np.array([np.nextafter(zero[0], np.float32(1)), 3], np.float32)
    panels = (("relu(x)", relu, ""), ("relu.derivative(x)", relu.derivative, ", by convention"))
    with style.context(STYLE):
        figure = Figure(figsize=(9, 3.8), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.12))
        for axes, (title, function, why) in zip(figure.subplots(1, 2), panels, strict=True):
            axes.axhline(0, color=FAINT, linewidth=1)
            axes.axvline(0, color=FAINT, linewidth=1)
            for x in (below, above):
                axes.plot(x, function(x), color=BLUE, linewidth=2.5)
            at, after = function(zero)[0], function(above)[0]
            if not np.isclose(at, after):  # open: not reached
                axes.plot(zero, after, "o", color=BLUE, markerfacecolor="white", markersize=9, markeredgewidth=2)
            axes.plot(zero, at, "o", color=BLUE, markersize=9)
            axes.annotate(f"{at:g} at 0{why}", (0, at), (10, -16), textcoords="offset points", va="center")
            axes.set_title(title, pad=12)
            axes.set(xlabel="x", xticks=range(-3, 4), yticks=range(int(function(above)[-1]) + 1))
            axes.margins(y=0.16)
    return figure


def draw_timings(timings: Sequence[Timing], machine: Machine) -> Figure:
    """Draw the table of timings."""
    from matplotlib import style
    from matplotlib.figure import Figure

    body, footer = rows(timings), notes(timings, machine)
    right_edges = (0.27, 0.42, 0.57, 0.70, 0.85, 1.0)
    bottom = 2.5 + len(body)  # in lines of the table, from the top
    height = bottom + 0.7 * len(footer) + 0.9
    with style.context(STYLE):
        figure = Figure(figsize=(9, 0.29 * height))
        axes = figure.add_axes((0.03, 0.0, 0.94, 1.0))
        axes.set(xlim=(0, 1), ylim=(height, -0.4))
        axes.axis("off")
        axes.text(0, 0.5, TITLE, va="center", fontsize=14, fontweight="bold")
        above = ""
        for line, (call, *cells) in enumerate([HEADER, *body], 2):
            if call != above:
                axes.text(0, line, call, va="center", fontweight="bold" if line == 2 else "normal")
                axes.axhline(line - 0.5, color=INK if line <= 3 else FAINT, linewidth=1)
                above = call
            for right, cell in zip(right_edges, cells, strict=True):
                color = {None: INK, True: ORANGE, False: BLUE}[ours_is_slower(cell)]
                weight = "bold" if line == 2 or color != INK else "normal"
                axes.text(right, line, cell, va="center", ha="right", color=color, fontweight=weight)
        axes.axhline(bottom, color=INK, linewidth=1)
        axes.text(0, bottom + 0.5, "\n".join(footer), va="top", fontsize=9.5, linespacing=1.5)
    return figure
