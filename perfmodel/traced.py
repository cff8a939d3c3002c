"""Numbers that remember how they were made.

The formulas of this package serve plain numbers and arrays; a `Traced` number is the third kind. It goes through the
very same lines and comes out as a value with its equation, in letters and with the numbers put in, so that no
equation is ever written down a second time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from perfmodel.arithmetic import Number

_SUM, _PRODUCT, _POWER, _ATOM = 1, 2, 3, 4  # how tightly an expression holds together

_FUNCTIONS: dict[str, tuple[str, Callable[..., Any]]] = {
    "maximum": ("max({})", max),
    "minimum": ("min({})", min),
    "ceil": ("⌈{}⌉", math.ceil),
    "sqrt": ("√({})", math.sqrt),
    "norm": ("‖{}‖", math.hypot),
    "log2": ("log₂({})", math.log2),
}


class Traced:
    """A value, and its expression: `letters` ("2·M·D·F") and `numbers` ("2·2048·4096·14336").

    Comparisons are of values and give plain booleans. `numbers` may be given where the value is a measurement
    whose last digits say nothing.
    """

    __array_ufunc__ = None  # NumPy leaves arithmetic with it to this class
    __slots__ = ("hold", "letters", "numbers", "value")

    def __init__(self, value: Number, letters: str, numbers: str | None = None, hold: int = _ATOM) -> None:
        self.value = value
        self.letters = letters
        self.numbers = _written(value) if numbers is None else numbers
        self.hold = hold

    @staticmethod
    def recorded(function: str, *arguments: Number) -> Number:
        """An elementary function of the package (perfmodel.arithmetic) applied to traced arguments."""
        text, compute = _FUNCTIONS[function]
        parts = [_traced(argument) for argument in arguments]
        if function == "minimum" and any(_nothing(side) for side in arguments) and all(part >= 0 for part in parts):
            return 0  # a plain nothing stays one: no size is less
        letters = text.format(", ".join(part.letters for part in parts))
        numbers = text.format(", ".join(part.numbers for part in parts))
        return Traced(compute(*(part.value for part in parts)), letters, numbers)

    def told(self, value: Number, text: str) -> Traced:
        """`value`, made of this number in a way that `text` says with {} in its place."""
        letters, numbers = (text.format(_held(part, self.hold < _ATOM)) for part in (self.letters, self.numbers))
        return Traced(value, letters, numbers, _SUM)

    def __mul__(self, other: Number) -> Number:
        return _joined(self, "·", other, _PRODUCT, lambda a, b: a * b)

    def __rmul__(self, other: Number) -> Number:
        return _joined(other, "·", self, _PRODUCT, lambda a, b: a * b)

    def __truediv__(self, other: Number) -> Number:
        return _joined(self, "/", other, _PRODUCT, lambda a, b: a / b)

    def __rtruediv__(self, other: Number) -> Number:
        return _joined(other, "/", self, _PRODUCT, lambda a, b: a / b)

    def __floordiv__(self, other: Number) -> Number:
        return _divided(self, other)

    def __rfloordiv__(self, other: Number) -> Number:
        return _divided(other, self)

    def __pow__(self, other: Number) -> Number:
        return _joined(self, "^", other, _POWER, lambda a, b: a**b)

    def __rpow__(self, other: Number) -> Number:
        return _joined(other, "^", self, _POWER, lambda a, b: a**b)

    def __neg__(self) -> Number:
        letters, numbers = (f"−{_held(text, self.hold < _ATOM)}" for text in (self.letters, self.numbers))
        return Traced(-self.value, letters, numbers, _SUM)

    def __mod__(self, other: Number) -> Any:
        return self.value % value_of(other)  # only asked whether something divides

    def __add__(self, other: Number) -> Number:
        return _joined(self, " + ", other, _SUM, lambda a, b: a + b)

    def __radd__(self, other: Number) -> Number:
        return _joined(other, " + ", self, _SUM, lambda a, b: a + b)

    def __sub__(self, other: Number) -> Number:
        return _joined(self, " − ", other, _SUM, lambda a, b: a - b)

    def __rsub__(self, other: Number) -> Number:
        return _joined(other, " − ", self, _SUM, lambda a, b: a - b)

    def __lt__(self, other: Number) -> bool:
        return bool(self.value < _traced(other).value)

    def __le__(self, other: Number) -> bool:
        return bool(self.value <= _traced(other).value)

    def __gt__(self, other: Number) -> bool:
        return bool(self.value > _traced(other).value)

    def __ge__(self, other: Number) -> bool:
        return bool(self.value >= _traced(other).value)

    def __eq__(self, other: object) -> bool:
        return bool(self.value == _traced(other).value)

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        return bool(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __int__(self) -> int:
        return int(self.value)

    def __round__(self, digits: int | None = None) -> Traced:
        return Traced(round(self.value, digits), self.letters, self.numbers, self.hold)

    def __format__(self, form: str) -> str:
        return format(self.value, form)

    def __repr__(self) -> str:
        return f"{self.letters} = {self.numbers} = {self.value}"


def value_of(number: Number) -> Any:
    """The plain value of a traced or plain number."""
    return number.value if isinstance(number, Traced) else number


def _traced(number: Any) -> Traced:
    return number if isinstance(number, Traced) else Traced(number, _written(number))


def _written(value: Any) -> str:
    """`value` in the fewest digits that give it back exactly: 2048, 0.5, 3.35e12."""
    text = str(value)
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e9:
            text = str(int(value))
        elif value.is_integer():
            text = next(t for t in (f"{value:.{digits}g}" for digits in range(1, 18)) if float(t) == value)
        text = text.replace("e+", "e")
    return f"({text})" if text.startswith("-") else text


_NEUTRAL = {"·": (1, 1), "/": (None, 1), " + ": (0, 0), " − ": (None, 0), "^": (None, 1)}
"""What changes nothing on the left and on the right of a sign."""


def _joined(left: Any, sign: str, right: Any, hold: int, compute: Callable[[Any, Any], Any]) -> Any:
    """left sign right, with the fewest brackets, and without a plain 1 or 0 that changes nothing."""
    a, b = _traced(left), _traced(right)
    value = compute(a.value, b.value)
    if (sign == "·" and (_nothing(left) or _nothing(right))) or (sign == "/" and _nothing(left)):
        return 0  # a plain nothing stays one, and vanishes from the sum it stands in
    for plain, other, neutral in ((left, b, _NEUTRAL[sign][0]), (right, a, _NEUTRAL[sign][1])):
        if neutral is not None and not isinstance(plain, Traced) and plain == neutral:
            return Traced(value, other.letters, other.numbers, other.hold)
    # what stands right of / or − needs brackets also around its own kind, and so do both sides of a power
    loose, tight = hold + (sign == "^"), hold + (sign in ("/", " − ", "^"))
    letters = f"{_held(a.letters, a.hold < loose)}{sign}{_held(b.letters, b.hold < tight)}"
    numbers = f"{_held(a.numbers, a.hold < loose)}{sign}{_held(b.numbers, b.hold < tight)}"
    return Traced(value, letters, numbers, hold)


def _nothing(number: Any) -> bool:
    return not isinstance(number, Traced) and bool(number == 0)


def _divided(left: Any, right: Any) -> Any:
    """left // right: a plain fraction where it leaves no rest, else with the sign for rounding down."""
    made = _joined(left, "/", right, _PRODUCT, lambda a, b: a // b)
    if value_of(left) % value_of(right) == 0:
        return made
    return Traced(value_of(made), f"⌊{made.letters}⌋", f"⌊{made.numbers}⌋")


def _held(text: str, brackets: bool) -> str:
    return f"({text})" if brackets else text
