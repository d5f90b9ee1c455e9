"""The points of the benchmark: functions, operations, forms of a call, and sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from ...catalogue import ALL, CATALOGUE, ROWWISE
from .batches import DEFAULT, DISTRIBUTIONS

DTYPES = ("float16", "bfloat16", "float32", "float64")
SQUARES = tuple((n, n) for n in (10, 30, 100, 300, 1000, 3000, 5000, 10_000))  # the recipe's, and two more
OTHERS = ((1, 1), (1, 10), (10, 100), (100, 1000), (1000, 10_000))  # with the squares, powers of ten to 1e8
SLICED, UNNAMED = (2000, 1000), (1000, 10_000)  # measured in this form alone
QUICK = ((30, 30), (300, 300), (1000, 1000))
FAMILY = (
    (10, 10),
    (100, 100),
    (1000, 1000),
    (5000, 5000),
)  # where the rest of the family is measured, by default calls
ROWS = (
    (10, 10),
    (100, 100),
    (1000, 1000),
    (20, 50_000),
    (100_000, 10),
)  # where functions of rows are, by default calls
SHOWN = tuple(dict.fromkeys((*SQUARES, *ROWS)))  # as columns of a table
FUNCTIONS = (*CATALOGUE, *ROWWISE)
WHOLE = ("relu", "leaky_relu")  # measured in every form
FORMS = {
    "value": ("default", "fresh", "unpooled", "out", "in_place", "slice"),
    "derivative": ("default", "out", "in_place"),
    "backward": ("default", "fresh", "unpooled", "out", "in_place"),
    "backward_from_mask": ("default", "out", "in_place"),
    "step": ("default",),  # the value, and then the backward of the same x: what training does
}
FORM_TITLES = {"default": "", "unpooled": "no pool", "out": "out=", "in_place": "in place"}
# Below them, these are as good as default calls; above, the system needs seconds to make as much memory ready.
ELEMENTS = {"fresh": (10_000, 25_000_000), "unpooled": (1_000_000, 25_000_000)}
IDLE = ((100, 100), (1000, 1000))


class Point(NamedTuple):
    """An operation of a function, called in a form, on a batch.

    Attributes
    ----------
    function, operation, form : str
        As in `case.Case`. A default call makes its result; fresh results are kept, so that none lies where one
        before it lay; unpooled is a default call with our pool switched off.
    state : str
        hot, or idle: one call after 10 ms without work.
    dtype : str
        Of the batch.
    rows, columns : int
        Its shape; a slice is ``x[:, :-1]`` of a batch with one column more.
    device : str
        Where the batch lies: cpu or gpu.
    distribution : str
        What x is drawn from, one of `batches.DISTRIBUTIONS`; dy is always normal. Value in place takes ``abs(x)``.
    """

    function: str
    operation: str
    form: str
    state: str
    dtype: str
    rows: int
    columns: int
    device: str = "cpu"
    distribution: str = DEFAULT

    @property
    def elements(self) -> int:
        """Number of elements of the result."""
        return self.rows * self.columns


def itemsize(name: str) -> int:
    """Return the bytes of an element of a dtype."""
    return {"float64": 8, "float32": 4}.get(name, 2)


def plan(
    functions: Sequence[str], dtype: str = "float32", quick: bool = False, distribution: str = DEFAULT
) -> list[Point]:
    """List the points of a run.

    Parameters
    ----------
    functions : sequence of str
        Some of `FUNCTIONS`.
    dtype : str
        Of the batches.
    quick : bool
        Three squares and no fresh results, instead of all powers of ten to 1e8, and more squares.
    distribution : str
        What x is drawn from.

    Returns
    -------
    list of Point
    """
    points = []
    shapes = {function: QUICK if quick else _shapes(function) for function in functions}
    for rows, columns in sorted({shape for of in shapes.values() for shape in of}, key=lambda of: (math.prod(of), of)):
        for function in functions:
            if (rows, columns) not in shapes[function]:
                continue
            for operation, forms in FORMS.items():
                if not has_operation(function, operation):
                    continue
                for form in forms if function in WHOLE else ("default",):
                    fewest, most = ELEMENTS.get(form, (2 if form == "slice" else 0, math.inf))
                    if not fewest <= rows * columns <= most or (quick and form in ELEMENTS):
                        continue
                    if form == {SLICED: "slice", UNNAMED: "default"}.get((rows, columns), form):
                        points.append(Point(function, operation, form, "hot", dtype, rows, columns))
            if function in WHOLE and (rows, columns) in (IDLE[1:] if quick else IDLE):
                points.append(Point(function, "value", "default", "idle", dtype, rows, columns))
    return [point._replace(distribution=distribution) for point in points]


def _shapes(function: str) -> tuple[tuple[int, int], ...]:
    """Return the shapes at which a function is measured."""
    return (*SQUARES, *OTHERS, SLICED) if function in WHOLE else ROWS if function in ROWWISE else FAMILY


def has_operation(function: str, operation: str) -> bool:
    """Check whether a function has an operation of `FORMS`."""
    if function in ROWWISE:
        return operation in ("value", "backward", "step")
    return operation != "backward_from_mask" or "mask" in ALL[function].spec.backward_from


def name_call(point: Point, with_function: bool = True) -> str:
    """Write a point out without its size."""
    words = [point.function] * with_function + [point.operation.replace("_from_", " ")]
    words += [FORM_TITLES.get(point.form, point.form), "idle" if point.state == "idle" else ""]
    words += ["on the GPU" if point.device == "gpu" else ""]
    return " ".join(word for word in words if word)


def describe_point(point: Point) -> str:
    """Write a point out in a line."""
    return f"{name_call(point)}, {point.dtype}, {point.rows} x {point.columns}{drawn_from(point)}"


def drawn_from(point: Point) -> str:
    """Write out what x is drawn from, where that is not the default."""
    return "" if point.distribution == DEFAULT else f", {DISTRIBUTIONS[point.distribution].title}"
