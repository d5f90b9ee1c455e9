"""Charts of lines as SVG that takes the colours of the page it stands in, dark or light."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import ArrayLike, NDArray

WIDTH, HEIGHT = 460, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 14, 38


@dataclass(frozen=True)
class Line:
    """A line of a chart.

    Attributes
    ----------
    label : str
        In the legend.
    x, y : array_like
        Points; a gap where y is no finite number.
    style : str
        Class that the style sheet colours: "line-0" to "line-6".
    marks : bool
        Whether the points are marked.
    """

    label: str
    x: ArrayLike
    y: ArrayLike
    style: str
    marks: bool = False


@dataclass(frozen=True)
class Axis:
    """An axis: its name, its ends, and whether it is logarithmic."""

    label: str
    low: float
    high: float
    log: bool = False
    ticks: tuple[tuple[float, str], ...] = ()

    def place(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return where values lie, from 0 at the low end to 1 at the high one."""
        given, low, high = np.asarray(values, np.float64), self.low, self.high
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                given, low, high = np.log10(given), math.log10(low), math.log10(high)
        placed: NDArray[np.float64] = (given - low) / (high - low)
        return placed

    def marked(self) -> tuple[tuple[float, str], ...]:
        """Return values that are marked, with their texts."""
        if self.ticks:
            return self.ticks
        if self.log:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            step = max(1, math.ceil(len(powers) / 6))
            return tuple((10.0**power, _power(power)) for power in powers[::step])
        rough = (self.high - self.low) / 6
        unit = 10.0 ** math.floor(math.log10(rough))
        step_size = min((unit * factor for factor in (1, 2, 2.5, 5, 10)), key=lambda step: abs(step - rough))
        first, last = math.ceil(self.low / step_size - 1e-9), math.floor(self.high / step_size + 1e-9)
        return tuple((k * step_size, f"{k * step_size:g}".replace("-", "−")) for k in range(first, last + 1))  # noqa: RUF001


def _power(power: int) -> str:
    return f"{10**power:,}" if 0 <= power <= 4 else f"{10.0**power:g}" if -3 <= power < 0 else f"1e{power}"


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line], rule: float | None = None) -> str:
    """Draw lines over two axes.

    Parameters
    ----------
    title : str
        What it shows, for those who cannot see it.
    x, y : Axis
    lines : sequence of Line
    rule : float, optional
        Where a line goes across.

    Returns
    -------
    str
        An element ``svg``.
    """
    legend_rows = math.ceil(len(lines) / 3)
    height = HEIGHT + 18 * legend_rows
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    ]
    grid: list[str] = []
    zeros: list[str] = []
    for value, text in x.marked():
        at = _LEFT + float(x.place(value)) * (right - _LEFT)
        is_zero = value == 0 and not x.log
        (zeros if is_zero else grid).append(f'<path class="grid{" zero" * is_zero}" d="M{at:.1f} {_TOP}V{bottom}"/>')
        grid.append(f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{text}</text>')
    for value, text in y.marked():
        at = bottom - float(y.place(value)) * (bottom - _TOP)
        is_zero = value == 0 and not y.log
        (zeros if is_zero else grid).append(f'<path class="grid{" zero" * is_zero}" d="M{_LEFT} {at:.1f}H{right}"/>')
        grid.append(f'<text x="{_LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{text}</text>')
    parts += grid + zeros
    if rule is not None:
        at = bottom - float(y.place(rule)) * (bottom - _TOP)
        parts.append(f'<path class="rule" d="M{_LEFT} {at:.1f}H{right}"/>')
    middle = (_LEFT + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 32}" text-anchor="middle">{escape(x.label)}</text>')
    if y.label:
        at_height = (_TOP + bottom) / 2
        place = f'x="12" y="{at_height}" transform="rotate(-90 12 {at_height})"'
        parts.append(f'<text {place} text-anchor="middle">{escape(y.label)}</text>')
    for number, line in enumerate(lines):
        across = _LEFT + x.place(line.x) * (right - _LEFT)
        up = bottom - y.place(line.y) * (bottom - _TOP)
        parts.append(f'<path class="line {line.style}" d="{_path(across, up, _TOP, bottom)}"/>')
        if line.marks:
            dots = zip(across, up, strict=True)
            parts += [f'<circle class="dot {line.style}" cx="{a:.1f}" cy="{b:.1f}" r="2.6"/>' for a, b in dots]
        column, row = number % 3, number // 3
        at, under = _LEFT + column * 136, HEIGHT + 18 * row + 6
        parts.append(f'<path class="line {line.style}" d="M{at} {under}h22"/>')
        parts.append(f'<text x="{at + 28}" y="{under + 4}">{escape(line.label)}</text>')
    return "".join([*parts, "</svg>"])


def _path(x: NDArray[np.float64], y: NDArray[np.float64], top: float, bottom: float) -> str:
    """Write a path through points; a gap where one is no number or leaves the frame."""
    pieces, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if not math.isfinite(b) or not top - 0.5 <= b <= bottom + 0.5:
            pen = "M"
            continue
        pieces.append(f"{pen}{a:.1f} {b:.1f}")
        pen = "L"
    return "".join(pieces)
