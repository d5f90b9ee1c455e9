"""Parameters without a default."""

from __future__ import annotations


class Required(float):
    """What stands where a formula has the default of a parameter that every call has to give.

    With this number in its place, pictures, figures and tests show the function.
    """
