"""The primitives of formulas, under the name that they had first; `rectifier.formulas` documents them."""

from .formulas.primitives import *  # noqa: F403
from .formulas.text import FormulaError as FormulaError
