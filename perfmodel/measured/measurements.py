"""One measurement of a run or of a kernel: what was asked, what came out, and what was predicted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, Field, model_validator

from perfmodel.spec import Spec, nearest


def printable(text: str) -> str:
    """`text`; ValueError where it holds line breaks or controls that a terminal would obey."""
    if not text.isprintable():
        raise ValueError(f"must be printable text on one line; got {text[:40]!r}")
    return text


FIGURES = {
    "ttft_s": "prefill",
    "tpot_s": "decode",
    "peak_memory_bytes": "memory",
    "accepted_length": "accepted length",
    "speedup": "speedup",
}
"""Figures of a whole run → the group that they are told under."""
_OP = re.compile(r"(prefill|decode)_op:([^\s:]{1,80})_s")


def _figure(text: str) -> str:
    if text not in FIGURES and not _OP.fullmatch(text):
        guess = nearest(text, FIGURES)
        known = ", ".join((*FIGURES, "prefill_op:NAME_s", "decode_op:NAME_s"))
        raise ValueError(f'has no "{text[:40]}"; ' + (f'did you mean "{guess}"?' if guess else f"known: {known}"))
    return text


Name = Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(printable)]
Figure = Annotated[str, Field(strict=True), AfterValidator(_figure)]
Whole = Annotated[int, Field(strict=True, ge=0, lt=10**12)]
Size = Annotated[int, Field(strict=True, gt=0, lt=10**12)]
Positive = Annotated[float, Field(strict=True, ge=1e-15, lt=1e24, allow_inf_nan=False)]  # so that no quotient overflows
Real = Annotated[float, Field(strict=True, ge=0, lt=1e30, allow_inf_nan=False)]
Claim = Annotated[bool, Field(strict=True)]
_SLACK = 1 + 1e-9  # quartiles are interpolated


class Predicted(Spec):
    """What was expected, and its 80 % interval."""

    expected: Real
    low: Real
    high: Real

    @model_validator(mode="after")
    def _ordered(self) -> Predicted:
        if not self.low <= self.expected * _SLACK or not self.expected <= self.high * _SLACK:
            raise ValueError(f"low ≤ expected ≤ high must hold; got {self.low!r}, {self.expected!r}, {self.high!r}")
        return self


class Measured(Spec):
    """What every measurement has: its median and quartiles over the repeats, and the prediction, if there is one.

    `flops` and `bytes` are what one device does and moves in `value` seconds, by `perfmodel.forward`.
    """

    value: Positive
    low: Real
    high: Real
    repeats: Size
    predicted: Predicted | None = None
    used_in_fit: Claim = False
    flops: Real | None = None
    bytes: Real | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Measured:
        if not self.low <= self.value * _SLACK or not self.value <= self.high * _SLACK:
            raise ValueError(f"low ≤ value ≤ high must hold; got {self.low!r}, {self.value!r}, {self.high!r}")
        return self

    @property
    def error(self) -> float | None:
        """(predicted − measured)/measured; None without a prediction."""
        return None if self.predicted is None else (self.predicted.expected - self.value) / self.value

    @property
    def ranged(self) -> bool:
        """Whether it was predicted with an interval; an op by itself is told without one."""
        return self.predicted is not None and self.predicted.low < self.predicted.high

    @property
    def covered(self) -> bool:
        """Whether the predicted interval holds the value."""
        return self.predicted is not None and self.predicted.low <= self.value <= self.predicted.high


class Setting(NamedTuple):
    """What is run, whichever figure of it is measured: known before it is, so that a run need not measure it again."""

    model: str
    layers: int
    of_layers: int
    weights: str
    kv: str
    way: str
    attention: str
    cache: bool
    draft: str | None
    batch: int
    prompt: int
    output: int


class RunMeasurement(Measured):
    """One figure of a model that ran: `layers` of its `of_layers`, in this way, on this workload."""

    model: Name
    layers: Size
    of_layers: Size
    weights: Name
    kv: Name
    way: Literal["eager", "compiled", "graphs"]
    attention: Literal["flash", "naive"]
    cache: Claim
    draft: Name | None = None
    batch: Size
    prompt: Size
    output: Whole
    figure: Figure

    @model_validator(mode="after")
    def _has_layers(self) -> RunMeasurement:
        if self.layers > self.of_layers:
            raise ValueError(f"layers must be of_layers at most; got {self.layers} of {self.of_layers}")
        return self

    @property
    def setting(self) -> Setting:
        return Setting(*(getattr(self, name) for name in Setting._fields))

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it apart from any other measurement of a file."""
        return (self.setting, self.figure)

    @property
    def phase(self) -> str:
        """Either "prefill" or "decode"; "" of a figure that is of neither."""
        found = _OP.fullmatch(self.figure)
        phase = found[1] if found else FIGURES[self.figure]
        return phase if phase in ("prefill", "decode") else ""

    @property
    def op(self) -> str:
        """The op that the time is of; "" of a figure of the whole run."""
        found = _OP.fullmatch(self.figure)
        return found[2] if found else ""

    @property
    def group(self) -> str:
        return f"{self.phase} ops" if self.op else FIGURES[self.figure]

    @property
    def shape_text(self) -> str:
        """The setting as a person says it."""
        layers = "" if self.layers == self.of_layers else f" ({self.layers} of {self.of_layers} layers)"
        draft = f", draft {self.draft}" if self.draft else ""
        cache = "" if self.cache else ", no cache"
        return (
            f"{self.model}{layers}, {self.weights}, {self.way}, {self.attention}{cache}{draft}, "
            f"batch {self.batch}, {self.prompt} + {self.output}"
        )


def kernel_setting(kernel: str, number_format: str, shape: Mapping[str, float]) -> tuple[Any, ...]:
    """What is measured of a kernel, in whichever order its sizes are named."""
    return (kernel, number_format, *sorted(shape.items()))


class KernelMeasurement(Measured):
    """Seconds of one kernel, in a format, at a shape."""

    kernel: Name
    format: Name
    shape: Annotated[dict[Name, Real], Field(min_length=1, max_length=40)]

    @property
    def setting(self) -> tuple[Any, ...]:
        return kernel_setting(self.kernel, self.format, self.shape)

    @property
    def key(self) -> tuple[Any, ...]:
        """What tells it apart from any other measurement of a file."""
        return self.setting

    @property
    def group(self) -> str:
        return f"{self.kernel} kernels"

    @property
    def shape_text(self) -> str:
        """The shape as a person says it."""
        sizes = ", ".join(f"{name} {size:g}" for name, size in self.shape.items())
        return f"{self.kernel}, {self.format}, {sizes}"


Measurement = RunMeasurement | KernelMeasurement
