"""Check functions of several numbers, of which not all can be tried: gated ones on pairs, row-wise ones on rows."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import mpmath
import numpy as np

from ... import testing
from ...formulas import bind
from ...formulas import mpmath as exact_primitives
from ...formulas.rows import part_of
from ...functions.specification import Rowwise
from ..progress import Advance
from .references import references_of_rows
from .results import OURS, Row, Stage, Tally

PAIRS = {"float64": 1_000}  # of each kind; of the other dtypes, whose truth is quicker
MORE_PAIRS = 1 << 15
ROW_ELEMENTS = 1_000  # of each kind of rows
DIGITS = 400  # of rows: what a sum does to the smallest of its terms is less than the smallest float64
LENGTHS = (1, 2, 3, 10, 33, 1000, 5000)
LEAST = 2.0**-100  # an error of an excess
FUNCTIONS = SimpleNamespace(exp=np.frompyfunc(mpmath.exp, 1, 1), log=np.frompyfunc(mpmath.log, 1, 1))
numbers = np.frompyfunc(lambda x: mpmath.mpf(float(x)), 1, 1)


def operations(spec: Any) -> tuple[str, ...]:
    """Return the operations that are checked of a function."""
    if isinstance(spec, Rowwise):
        return "value", "backward"
    return "value", *spec.operations["backward"].outputs


def check(stage: Stage, activation: Any, start: Callable[[int], Advance]) -> Stage:
    """Fill a stage; `start` is called with how many numbers there are, and what it returns with those that are done."""
    begin, dtype = time.perf_counter(), testing.dtype_of(stage.dtype)
    found: dict[tuple[str, str], Tally] = {}
    of_rows = isinstance(activation.spec, Rowwise)
    with np.errstate(all="ignore"):
        batches = list(_chosen_rows(dtype)) if of_rows else [_chosen_pairs(dtype)]
        advance = start(sum(batch.size for batch in batches))
        for batch in batches:
            if of_rows and activation.spec.reduces:
                results = _reductions(activation, batch)
            else:
                results = _rows(activation, batch, stage.versions) if of_rows else _pairs(activation, batch)
            for operation, source, at, result, truth, errors in results:
                found.setdefault((operation, source), Tally()).count(at, result, truth, errors)
            advance(batch.size)
    rows = tuple(
        Row(operation, source, bound(activation.spec, dtype, operation) if source == OURS else None, False, tally)
        for (operation, source), tally in sorted(found.items(), key=lambda item: item[0][0] != "value")
    )
    return replace(stage, seconds=time.perf_counter() - begin, rows=rows)


def bound(spec: Any, dtype: np.dtype[Any], operation: str) -> float:
    """Return the largest error that a block allows in an operation."""
    if isinstance(spec, Rowwise):
        return {"float32": spec.ulp[0], "float64": spec.ulp[1]}.get(dtype.name, 0.5001)
    return testing.bound(spec, dtype, derivative=operation != "value") or 0.5


_Found = Iterator[tuple[str, str, Any, Any, Any, Any]]


def _pairs(activation: Any, batch: Any) -> _Found:
    """Yield operation, source, inputs, results, truth and errors, for pairs of numbers."""
    spec, dtype = activation.spec, batch.dtype
    x, gate = batch
    results = activation(x, gate), *activation.backward(np.ones_like(x), x, gate)
    exact = by_mpmath if dtype == np.float64 else _by_long_doubles
    at = np.rec.fromarrays([x.astype(np.float64), gate.astype(np.float64)])
    for operation, result, truth in zip(operations(spec), results, exact(spec, x, gate), strict=True):
        errors = testing.ulps(result, truth, dtype) if truth.dtype != object else _distances(result, truth, dtype)
        if spec.wide and dtype == np.float64:
            # x is multiplied by a rounded function of the gate, whose derivative is promised to 2^-52 near its zeros.
            unit = np.abs(x) * (2.0**-1074 if operation == "value" else 2.0**-52)
            with mpmath.workdps(testing.checks.DIGITS):
                away = np.abs(numbers(result) - truth).astype(np.float64) / np.where(unit, unit, 1)
            errors = np.where(unit, np.minimum(errors, away * bound(spec, dtype, operation)), errors)
        yield operation, OURS, at, result, truth, errors


def _chosen_pairs(dtype: np.dtype[Any]) -> Any:
    random, count = np.random.default_rng(0), PAIRS.get(dtype.name, MORE_PAIRS)
    special = testing.special_values(dtype)
    integer = np.dtype(f"u{dtype.itemsize}")
    bits = random.integers(0, 1 << (8 * dtype.itemsize), (2, count), integer).view(dtype)
    normal = random.standard_normal((2, count)) * np.array([[3.0], [6.0]])
    small = random.standard_normal((2, count)) * 2.0 ** -random.uniform(0, 40, (2, count))
    pairs = [np.stack([a.ravel() for a in np.meshgrid(special, special)]), bits, normal, small]
    batch = np.concatenate([pair.astype(dtype) for pair in pairs], axis=1)
    return batch[:, np.isfinite(batch).all(axis=0)]


def _by_long_doubles(spec: Any, x: Any, gate: Any) -> tuple[Any, Any, Any]:
    a, b = x.astype(np.longdouble), gate.astype(np.longdouble)
    numbers = [np.longdouble(float(number)) for number in testing.checks.settings_of(spec, x.dtype, {})]
    one, zero = np.ones_like(a), np.zeros_like(a)
    by_x, by_gate = (
        exact_primitives.Dual.of(
            spec.exact(exact_primitives.arrays(), exact_primitives.Dual(a, u), exact_primitives.Dual(b, v), *numbers)
        )
        for u, v in ((one, zero), (zero, one))
    )
    value, dx, dgate = (np.broadcast_to(part, a.shape) for part in (by_x.number, by_x.slope, by_gate.slope))
    return value, dx, dgate


def by_mpmath(spec: Any, x: Any, gate: Any) -> tuple[Any, Any, Any]:
    """Evaluate the textbook form and both its derivatives on pairs."""
    numbers = [mpmath.mpf(float(number)) for number in testing.checks.settings_of(spec, x.dtype, {})]

    def at(a: float, b: float) -> tuple[Any, Any, Any]:
        p, q = mpmath.mpf(a), mpmath.mpf(b)
        by_x, by_gate = (
            exact_primitives.Dual.of(
                spec.exact(exact_primitives.MPMATH, exact_primitives.Dual(p, u), exact_primitives.Dual(q, v), *numbers)
            )
            for u, v in ((1, 0), (0, 1))
        )
        return tuple(mpmath.mpf(part) for part in (by_x.number, by_x.slope, by_gate.slope))

    with mpmath.workdps(testing.checks.DIGITS):
        points = [at(a, b) for a, b in zip(x.tolist(), gate.tolist(), strict=True)]
    value, dx, dgate = (np.array([*part, None], object)[:-1] for part in zip(*points, strict=True))
    return value, dx, dgate


def _distances(result: Any, truth: Any, dtype: np.dtype[Any]) -> Any:
    pairs = zip(result.tolist(), truth, strict=True)
    with mpmath.workdps(testing.checks.DIGITS):
        return np.array([testing.ulp_distance(actual, exact, dtype) for actual, exact in pairs])


def _rows(activation: Any, x: Any, others: Container[str]) -> _Found:
    """Yield operation, source, inputs, results, truth and errors, for rows of numbers, also of others by name."""
    spec, dtype, primitives = activation.spec, x.dtype, exact_primitives.primitives()
    parts = [part_of(spec.weight, k) for k in range(spec.sums)] if spec.sums > 1 else [spec.weight]
    *weights, gradient = (
        np.frompyfunc(bind(formula, primitives), formula.__code__.co_argcount, 1) for formula in (*parts, spec.backward)
    )
    at = np.array([f"{number!s} of {x.shape[-1]}" for number in x.ravel()])
    y = activation(x)
    with mpmath.workdps(DIGITS):
        truth = spec.exact(FUNCTIONS, numbers(x)).ravel()
    references = references_of_rows(spec.name, dtype.name).items()
    for source, way in {OURS: activation, **{source: way for source, way in references if source in others}}.items():
        result = way(x)
        errors = _distances(result.ravel(), truth, dtype)
        if spec.each == "excess":  # a difference, of numbers of which more digits than these are not kept
            with mpmath.workdps(testing.checks.DIGITS):
                errors = np.where(np.abs(numbers(result.ravel()) - truth) < LEAST, 0, errors)
        yield "value", source, at, result.ravel(), truth, errors
    dy = np.roll(x, 1, axis=-1)
    dx = activation.backward(dy, y=y)
    with mpmath.workdps(testing.checks.DIGITS):
        terms, *others = (weight(numbers(dy), numbers(y)) for weight in weights)
        sums = [of_row.sum(axis=-1, keepdims=True) for of_row in (terms, *others)]
        truth = gradient(numbers(dy), numbers(y), *sums)
        # Terms cancel: the unit is that of the sum of their magnitudes, or of the largest result of a row.
        largest = np.maximum(np.abs(terms).sum(axis=-1), np.abs(truth).max(axis=-1))[:, None]
        size = np.array([float(testing.ulp_distance(0.0, top, dtype)) for top in largest.ravel()])
        away = np.abs(numbers(dx) - truth) / np.where(largest == 0, 1, largest)
        errors = away.astype(np.float64) * size.reshape(largest.shape)
    yield "backward", OURS, at, dx.ravel(), truth.ravel(), errors.ravel()


def _reductions(activation: Any, x: Any) -> _Found:
    """Yield operation, source, inputs, results, truth and errors, for rows that have one number each."""
    spec, dtype = activation.spec, x.dtype
    names = np.array([f"{number!s} of {x.shape[-1]}" for number in x[:, 0]])
    y, dy = activation(x), np.roll(x[:, 0], 1)
    dx = activation.backward(dy, x)
    with mpmath.workdps(DIGITS):
        truth = spec.exact(FUNCTIONS, numbers(x))
        gradient = numbers(dy)[:, None] * FUNCTIONS.exp(numbers(x) - truth)
        beside = math.log(x.shape[-1]) * 2.0**-51
        errors = np.where(np.abs(numbers(y) - truth[:, 0]) <= beside, 0, _distances(y, truth[:, 0], dtype))
    yield "value", OURS, names, y, truth[:, 0], errors
    at = np.repeat(names, x.shape[-1])
    yield "backward", OURS, at, dx.ravel(), gradient.ravel(), _distances(dx.ravel(), gradient.ravel(), dtype)


def _chosen_rows(dtype: np.dtype[Any]) -> Iterator[Any]:
    random = np.random.default_rng(0)
    for length in LENGTHS:
        shape = (max(1, ROW_ELEMENTS // length), length)
        for scale in (0.01, 1.0, 4.0, 30.0):
            yield (random.standard_normal(shape) * scale).astype(dtype)
        yield (random.standard_normal(shape) + 20 * (np.arange(length) == length // 2)).astype(dtype)  # one stands out
        yield np.full(shape, 7).astype(dtype)
        yield (random.standard_normal(shape) + np.where(np.arange(length) % 2, 1e4, -1e4)).astype(dtype)
