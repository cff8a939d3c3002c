"""Levers side by side: a question as the baseline, and what each change to it makes of the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import Parameter
from typing import Any

from perfmodel.answer import Estimate, Range, estimate
from perfmodel.errors import DoesNotFitError, PerfModelError, RequestError
from perfmodel.flags import flags, truth, typed
from perfmodel.memory import most_sequences
from perfmodel.moved import memory_shift, reasons, shift
from perfmodel.placement import too_big
from perfmodel.remedies import ways_out
from perfmodel.spec import nearest

Change = str | Mapping[str, Any]
ALIKE = (
    "two configurations of one device and engine err alike, so that their ratio is better known than either time; "
    "~ marks a time within the 80 % interval of the baseline's"
)
APART = "devices and engines differ, and so may the errors of their times: ~ marks what lies within the interval"
# what answers have in common: name → its value; a Range stands for its expected value, with an interval
FIGURES: dict[str, Callable[[Estimate], Any]] = {
    "gpu_count": lambda answer: answer.plan.gpu_count,
    "memory_bytes": lambda answer: answer.memory.used,
    "room_sequences": lambda answer: most_sequences(answer.plan, answer.work),
    "ttft_s": lambda answer: answer.ttft_s,
    "tpot_s": lambda answer: answer.tpot_s,
    "e2e_s": lambda answer: answer.e2e_s,
    "tokens_per_s": lambda answer: answer.tokens_per_s,
    "tokens_per_s_per_user": lambda answer: answer.tokens_per_s_per_user,
    "usd_per_million_tokens": lambda answer: answer.usd_per_million_tokens,
}
HELD = ("gpu_count", "memory_bytes", "room_sequences")
"""Figures that also a configuration that does not fit has."""


@dataclass(frozen=True)
class Figure:
    """One figure of a configuration: `value`, its `ratio` to the baseline's, and whether it lies `within` the 80 %
    interval of that. None where it, or the baseline's, is not known."""

    value: float | None
    low: float | None = None
    high: float | None = None
    ratio: float | None = None
    within: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "ratio": self.ratio,
            "within_interval": self.within,
        }


@dataclass(frozen=True)
class Variant:
    """One configuration: how it was asked for, and its answer.

    change    as it was written, like "kv=fp8"; "" of the baseline
    settings  keyword arguments of `estimate` that it changes
    answer    the Estimate; None where no number of devices holds it
    refusal   why it does not fit; "" where it does
    remedies  what would work, where it does not fit
    """

    change: str
    settings: Mapping[str, Any]
    answer: Estimate | None
    refusal: str = ""
    remedies: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        return not self.refusal

    @cached_property
    def values(self) -> dict[str, Any]:
        """Every figure as a number, a Range, or None where the configuration has none."""
        answer = self.answer
        return {
            name: None if answer is None or not (self.fits or name in HELD) else of(answer)
            for name, of in FIGURES.items()
        }

    def figures(self, baseline: Variant) -> dict[str, Figure]:
        """Every figure, beside the baseline's."""
        return {name: _figure(self.values[name], baseline.values[name]) for name in FIGURES}

    def why(self, baseline: Variant) -> tuple[str, ...]:
        """What moved against the baseline and where, in sentences; where it does not fit, what would work."""
        if not self.fits:
            return (self.refusal, *(f"what would work: {remedy}" for remedy in self.remedies))
        assert self.answer is not None
        if not baseline.fits or baseline.answer is None:
            return ("fits, where the baseline does not",)
        return tuple(reasons(baseline.answer, self.answer))


@dataclass(frozen=True)
class Comparison:
    """A baseline and its variants, in the order in which they were asked for."""

    baseline: Variant
    variants: tuple[Variant, ...]

    @property
    def fits(self) -> bool:
        """Whether any of the configurations fits."""
        return any(variant.fits for variant in (self.baseline, *self.variants))

    @property
    def note(self) -> str:
        """How ratios are to be read."""
        plans = [v.answer.plan for v in (self.baseline, *self.variants) if v.answer is not None and v.fits]
        return ALIKE if len({(plan.gpu.name, plan.engine.runs) for plan in plans}) < 2 else APART

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        from perfmodel import __version__

        rows = [self._row(variant) for variant in (self.baseline, *self.variants)]
        return {"version": __version__, "baseline": rows[0], "variants": rows[1:], "note": self.note}

    def to_table(self) -> Any:
        """A perfmodel Table, one row a configuration."""
        from perfmodel.table import Table

        rows = [dict(self._flat(variant)) for variant in (self.baseline, *self.variants)]
        return Table({name: [row[name] for row in rows] for name in rows[0]})

    def to_frame(self) -> Any:
        """A pandas DataFrame, one row a configuration."""
        return self.to_table().to_frame()

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        from perfmodel.report.notebook import notebook_html

        return str(notebook_html(self))

    def _row(self, variant: Variant) -> dict[str, Any]:
        plan = None if variant.answer is None else variant.answer.plan
        return {
            "change": variant.change,
            "settings": {name: _plain(value) for name, value in variant.settings.items()},
            "fits": variant.fits,
            "model": plan and plan.model.name,
            "gpu": plan and plan.gpu.name,
            "tp": plan and plan.tp,
            "pp": plan and plan.pp,
            "deployment": None if variant.answer is None else variant.answer.assumptions[0],
            "figures": {name: figure.to_dict() for name, figure in variant.figures(self.baseline).items()},
            "why": [] if variant is self.baseline and variant.fits else list(variant.why(self.baseline)),
            "moved": self._moved(variant),
            "remedies": list(variant.remedies),
        }

    def _moved(self, variant: Variant) -> dict[str, Any] | None:
        """Seconds and bytes by which its parts differ from the baseline's; None where either does not fit."""
        a, b = self.baseline, variant
        if a is b or not (a.fits and b.fits) or a.answer is None or b.answer is None:
            return None
        found: dict[str, Any] = {"memory_bytes": memory_shift(a.answer, b.answer)}
        for phase in ("prefill", "decode"):
            moved = shift(a.answer, b.answer, phase)
            found[phase] = {"spent_s": moved.legs, "ops_s": dict(moved.ops)}
        return found

    def _flat(self, variant: Variant) -> Iterator[tuple[str, Any]]:
        row = self._row(variant)
        for name in ("change", "fits", "model", "gpu", "tp", "pp"):
            yield name, row[name]
        for name, figure in row["figures"].items():
            yield name, figure["value"]
            yield f"{name}_ratio", figure["ratio"]
        yield "why", "; ".join(row["why"])


def compare(model: Any, gpu: Any, *, changes: Sequence[Change], **question: Any) -> Comparison:
    """The answers to a question (keyword arguments of `estimate`) and to each of `changes` to it, side by side.

    A change is a mapping of keyword arguments, or text as `--compare` takes it: "kv=fp8", "weights=fp8,kv=fp8". Where
    the question names no split, each configuration gets the fewest devices that hold it. One that does not fit is
    told as such; RequestError where a change names what is no flag, or a value that it cannot have.
    """
    asked = {"model": model, "gpu": gpu, **question}
    baseline = answered("", {}, asked)
    if baseline.answer is not None and any(hasattr(size, "shape") for size in _sizes(baseline.answer)):
        raise RequestError("compare takes one batch, prompt and output; give whole numbers, not arrays.")
    variants = []
    for change in changes:
        settings, name = settings_of(change), change if isinstance(change, str) else _written(change)
        try:
            variants.append(answered(name, settings, _replaced(asked, settings)))
        except PerfModelError as error:
            raise type(error)(f"--compare {name}: {error}") from None
    return Comparison(baseline, tuple(variants))


def _sizes(answer: Estimate) -> tuple[Any, ...]:
    return answer.work.batch, answer.work.prompt, answer.work.output


def answered(change: str, settings: Mapping[str, Any], asked: Mapping[str, Any]) -> Variant:
    """The answer to `asked`, keyword arguments of `estimate`, or why there is none; `settings` are its `change`."""
    try:
        answer = estimate(**{**asked, "must_fit": False})
    except DoesNotFitError as error:  # no number of devices holds it
        return Variant(change, settings, None, str(error), error.remedies)
    if answer.fits is False:
        plan, work = answer.plan, answer.work
        return Variant(change, settings, answer, too_big(plan, answer.memory), ways_out(plan, work))
    return Variant(change, settings, answer)


SPLIT = ("tp", "pp", "dp", "ep", "cp", "replicas")


def _replaced(asked: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """The question with `settings` in it; a number of GPUs frees the split that it had, and a split the number."""
    freed = SPLIT if "gpu_count" in settings else ("gpu_count",) if any(name in settings for name in SPLIT) else ()
    return {name: value for name, value in asked.items() if name not in freed} | dict(settings)


def _figure(value: Any, baseline: Any) -> Figure:
    if not isinstance(value, Range):
        return Figure(value, ratio=_ratio(value, baseline))
    ratio, within = None, None
    if isinstance(baseline, Range):
        ratio = _ratio(value.expected, baseline.expected)
        within = bool(baseline.low <= value.expected <= baseline.high)
    return Figure(value.expected, value.low, value.high, ratio, within)


def _ratio(value: Any, baseline: Any) -> float | None:
    return None if value is None or not baseline else value / baseline


def _plain(value: Any) -> Any:
    """A setting as JSON can hold it; specs by their names."""
    return value if isinstance(value, (str, int, float, bool, type(None))) else getattr(value, "name", str(value))


def _written(settings: Mapping[str, Any]) -> str:
    return ",".join(f"{name.replace('_', '-')}={_plain(value)}" for name, value in settings.items())


# ── a change in words ────────────────────────────────────────────────────────────────────────────


def settings_of(change: Change) -> dict[str, Any]:
    """The keyword arguments that a change sets; RequestError, in one sentence, for what is no flag or no value."""
    if isinstance(change, str):
        found: dict[str, Any] = {}
        for piece in _pieces(change):
            parameter, value = _setting(piece, change)
            if parameter in found:
                raise RequestError(f"--compare {change}: {parameter.replace('_', '-')} stands there twice.")
            found[parameter] = value
        return found
    for name in change:
        _flag(name, str(name))
    return {name.replace("-", "_"): value for name, value in change.items()}


def _pieces(change: str) -> list[str]:
    """What stands between commas or spaces; quotes hold a value together that has some itself."""
    from shlex import shlex

    words = shlex(change, posix=True, punctuation_chars=False)
    words.whitespace, words.whitespace_split, words.escape, words.commenters = ", \t\n", True, "", ""
    try:
        pieces = list(words)
    except ValueError:
        raise RequestError(f"--compare {change}: a quote is not closed.") from None
    if not pieces:
        raise RequestError('--compare needs a change, like "kv=fp8" or "weights=fp8,kv=fp8".')
    return pieces


def _flag(name: str, change: str) -> Parameter:
    known = flags()
    flag = name.removeprefix("--").replace("_", "-")
    if flag not in known:
        guess = nearest(flag, known)
        others = 'it takes flags of estimate; a value with commas needs quotes, as in prune="layers=32,hidden=4096".'
        hint = f'did you mean "{guess}"?' if guess else others
        raise RequestError(f'--compare {change}: no flag is called "{flag[:40]}"; {hint}')
    return known[flag]


def _setting(piece: str, change: str) -> tuple[str, Any]:
    """One "flag=value" → keyword and value; a flag that is on or off may stand alone."""
    name, equals, text = piece.partition("=")
    parameter = _flag(name, change)
    flag = name.removeprefix("--").replace("_", "-")
    if parameter.annotation is bool:
        on = truth(text if equals else "true", f"--compare {change}: {flag}")
        return parameter.name, on != (flag != parameter.name.replace("_", "-"))
    if not text:
        raise RequestError(f'--compare {change}: {flag} needs a value, like "{flag}={_EXAMPLES.get(flag, "…")}".')
    return parameter.name, typed(text, parameter.annotation, f"--compare {change}: {flag}")


_EXAMPLES = {"kv": "fp8", "weights": "fp8", "tp": "8", "pp": "2", "batch": "64", "gpu": "h200", "engine": "sglang"}
