"""Parameters without a default."""

from __future__ import annotations


class Required(float):
    """A parameter that every call has to give, in the place of its default in a formula.

    With this number in its place, pictures, figures and tests show the function.
    """
