"""Double-double arithmetic, in formulas: a number and what rounding took from it.

Without what rounding takes some results would be off by 4 units in the last place in float64, and by a thousand where
it is in an exponent. For float32 the primitives take no notice of it, and what computes it falls away. T. J. Dekker,
Numer. Math. 18 (1971); T. Ogita, S. M. Rump and S. Oishi, SIAM J. Sci. Comput. 26 (2005).
"""

from __future__ import annotations

from ..formulas import T, fma


def fast_two_sum(x, y, lost):
    """Add numbers with abs(x) >= abs(y); `lost` is what is known to be missing."""
    s = x + y
    return s, (x - s) + y + lost


def two_prod(x, y, lost):
    """Multiply x and y + lost."""
    p = x * y
    return p, fma(x, y, -p) + x * lost


def two_square(x, lost):
    """Square x + lost."""
    h = x * x
    return h, fma(x, x, -h) + T(2) * x * lost
