"""The textbook form of a function as MathML: `exact` is called with nodes, and what it does to them is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from html import escape
from typing import Any

# Precedence: a node that binds looser than its place demands gets parentheses.
_CONDITION, _SUM, _PRODUCT, _SIGN, _ATOM = range(5)
_TAIL = 1e-10  # a summand with such a factor is what rounding took from the constant of the one before it
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "lambda": "λ", "sigma": "σ", "theta": "θ"}  # noqa: RUF001


class Node:
    """A piece of MathML, and how tightly it binds."""

    def __init__(
        self, text: str, precedence: int = _ATOM, size: float | None = None, cases: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.text, self.precedence, self.size, self.cases = text, precedence, size, cases
        self.factors: tuple[Node, Node] | None = None
        self.power_of: tuple[Node, int] | None = None

    def at_least(self, precedence: int) -> str:
        """Return its text, in parentheses if it binds looser."""
        return self.text if self.precedence >= precedence else f"<mrow><mo>(</mo>{self.text}<mo>)</mo></mrow>"

    def __add__(self, other: Any) -> Node:
        return _sum(self, _node(other), "+")

    def __radd__(self, other: Any) -> Node:
        return _sum(_node(other), self, "+")

    def __sub__(self, other: Any) -> Node:
        return _sum(self, _node(other), "−")  # noqa: RUF001

    def __rsub__(self, other: Any) -> Node:
        return _sum(_node(other), self, "−")  # noqa: RUF001

    def __mul__(self, other: Any) -> Node:
        return _product(self, _node(other))

    def __rmul__(self, other: Any) -> Node:
        return _product(_node(other), self)

    def __truediv__(self, other: Any) -> Node:
        return Node(f"<mfrac><mrow>{self.text}</mrow><mrow>{_node(other).text}</mrow></mfrac>")

    def __rtruediv__(self, other: Any) -> Node:
        return _node(other) / self

    def __pow__(self, power: Any) -> Node:
        return Node(f"<msup>{_row(self.at_least(_ATOM))}{_row(_node(power).text)}</msup>")

    def __neg__(self) -> Node:
        return Node(f"<mo form='prefix'>−</mo>{self.at_least(_PRODUCT)}", _SIGN)  # noqa: RUF001

    def __lt__(self, other: Any) -> Node:
        return _compare(self, other, "&lt;")

    def __le__(self, other: Any) -> Node:
        return _compare(self, other, "≤")

    def __gt__(self, other: Any) -> Node:
        return _compare(self, other, "&gt;")

    def __ge__(self, other: Any) -> Node:
        return _compare(self, other, "≥")

    # A formula may treat one value of a parameter apart, such as 1/6, which no dtype holds; it is shown for the others.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    def __and__(self, other: Any) -> Node:
        return Node(f"{self.text}<mtext> and </mtext>{_node(other).text}", _CONDITION)

    def __or__(self, other: Any) -> Node:
        return Node(f"{self.text}<mtext> or </mtext>{_node(other).text}", _CONDITION)

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise TypeError("a node is neither true nor false")

    def sum(self, axis: Any = -1, keepdims: bool = True) -> Node:
        """Sum along the row."""
        return Node(f"<mo>∑</mo>{self.at_least(_PRODUCT)}", _PRODUCT)


class _Mathematics:
    """What `exact` gets for its mathematics."""

    pi = Node("<mi>π</mi>")

    @staticmethod
    def where(condition: Any, x: Any, y: Any) -> Node:
        if isinstance(condition, bool):  # of parameters alone, which have their defaults
            return _node(x if condition else y)
        within, after = _node(x), _node(y)
        both = "<mtext> and </mtext>"
        cases = [
            (text, f"{condition.text}{both}{when}" if when else condition.text)
            for text, when in within.cases or [(within.text, "")]
        ]
        cases += after.cases or [(after.text, "")]
        cells = "".join(
            f"<mtr><mtd>{_row(text)}</mtd><mtd>{_row(when or '<mtext>otherwise</mtext>')}</mtd></mtr>"
            for text, when in cases
        )
        table = f"<mrow><mo stretchy='true'>{{</mo><mtable columnalign='left left'>{cells}</mtable></mrow>"
        return Node(table, _SUM, cases=cases)

    @staticmethod
    def abs(x: Any) -> Node:
        return Node(f"<mrow><mo>|</mo>{_node(x).text}<mo>|</mo></mrow>")

    @staticmethod
    def with_slope(y: Any, slope: Any) -> Node:
        return _node(y)

    @staticmethod
    def sqrt(x: Any) -> Node:
        return Node(f"<msqrt>{_node(x).text}</msqrt>")

    @staticmethod
    def exp(x: Any) -> Node:
        return Node(f"<msup><mi>e</mi>{_row(_node(x).text)}</msup>")

    @classmethod
    def expm1(cls, x: Any) -> Node:
        return cls.exp(x) - 1

    @staticmethod
    def log1p(x: Any) -> Node:
        return _call("log", 1 + _node(x))

    def __getattr__(self, name: str) -> Callable[..., Node]:
        return lambda *given: _call(name, *given)


def _row(text: str) -> str:
    return f"<mrow>{text}</mrow>"


def _call(name: str, *given: Any) -> Node:
    inner = "<mo>,</mo>".join(_node(one).text for one in given)
    return Node(f"<mi>{escape(name)}</mi><mo>⁡</mo><mrow><mo>(</mo>{inner}<mo>)</mo></mrow>", _PRODUCT)


def _node(value: Any) -> Node:
    if isinstance(value, Node):
        return value
    number = float(value)
    part = Fraction(number).limit_denominator(12)
    if number != round(number, 3) and abs(number - float(part)) < 1e-12:
        return Node(f"<mfrac><mn>{part.numerator}</mn><mn>{part.denominator}</mn></mfrac>", size=abs(number))
    text = f"{abs(number):.7g}".replace("e-0", "e-").replace("e+0", "e")
    return Node(f"<mn>{text}</mn>", size=abs(number)) if number >= 0 else -Node(f"<mn>{text}</mn>")


def _sum(a: Node, b: Node, sign: str) -> Node:
    if b.size is not None and b.size < _TAIL:
        return a
    return Node(f"{a.at_least(_SUM)}<mo>{sign}</mo>{b.at_least(_PRODUCT)}", _SUM)


def _power(a: Node, b: Node) -> Node | None:
    """Return the power that a product is, if b is the other factor or what that is a power of."""
    base, power = a.power_of or (a, 1)
    if base.text != b.text or base.size is not None:
        return None
    made = b ** (power + 1)
    made.power_of = b, power + 1
    return made


def _product(a: Node, b: Node) -> Node:
    first, last = a.factors or (None, a)
    power = _power(last, b)
    if power is not None:
        return power if first is None else _product(first, power)
    size = a.size if a.size is not None and a.size < _TAIL else None
    between = "<mo>⋅</mo>" if b.text.startswith(("<mn", "<mfrac><mn")) else "<mo>⁢</mo>"
    made = Node(f"{a.at_least(_PRODUCT)}{between}{b.at_least(_PRODUCT)}", _PRODUCT, size)
    made.factors = a, b
    return made


def _compare(a: Node, b: Any, sign: str) -> Node:
    return Node(f"{a.at_least(_SUM)}<mo>{sign}</mo>{_node(b).at_least(_SUM)}", _CONDITION)


def name_of(symbol: str) -> Node:
    """Return the node of a symbol; what stands behind an underscore is its index."""
    word, _, index = symbol.partition("_")
    text = f"<mi>{_GREEK.get(word, escape(word))}</mi>"
    return Node(f"<msub>{text}<mtext>{escape(index.replace('_', ' '))}</mtext></msub>" if index else text)


def formula(name: str, exact: Callable[..., Any], operands: tuple[str, ...], parameters: Iterable[str] = ()) -> str:
    """Write the textbook form of a function as a display of MathML; nothing if it is no expression.

    Parameters
    ----------
    name : str
        Of the function.
    exact : callable
        As a block states it.
    operands, parameters : names
        Of its arguments after the mathematics.
    """
    try:
        found = _node(exact(_Mathematics(), *map(name_of, (*operands, *parameters))))
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, NameError):
        return ""  # a computation, such as one that sorts: its text says what it does
    arguments = "<mo>,</mo>".join(name_of(symbol).text for symbol in operands)
    left = f"<mi>{escape(name)}</mi><mo>⁡</mo><mrow><mo>(</mo>{arguments}<mo>)</mo></mrow><mo>=</mo>"
    return f'<math display="block"><mrow>{left}{found.text}</mrow></math>'
