"""Flags of a question as they are typed: their names, their types, and text → value."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any, get_type_hints

from perfmodel.answer import estimate
from perfmodel.errors import RequestError

_TRUTHS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def flags() -> dict[str, Parameter]:
    """What may be asked, as typed after `--`: every keyword argument of `estimate`, its type as annotation."""
    types = get_type_hints(estimate)
    asked = (p.replace(annotation=types[name]) for name, p in signature(estimate).parameters.items())
    named = {p.name.replace("_", "-"): p for p in asked if p.name != "must_fit"}
    return named | {f"no-{flag}": p for flag, p in named.items() if p.annotation is bool and p.default is True}


def kinds(annotation: Any) -> list[type]:
    """The kinds of number, narrowest first, that a keyword argument takes; none where it takes words alone."""
    if annotation is Any:
        return [int]
    text = str(annotation).replace("Mapping[str, int]", "")
    return [kind for kind in (int, float) if kind.__name__ in text]


def truth(text: str, where: str) -> bool:
    """`text` as on or off; RequestError begins with `where`, which names the flag."""
    if text.lower() not in _TRUTHS:
        raise RequestError(f"{where} is on or off; got {text[:40]!r}.")
    return _TRUTHS[text.lower()]


def typed(text: str, annotation: Any, where: str) -> Any:
    """`text` as the keyword argument has it: whole numbers, numbers or words; "none" takes a setting back.

    RequestError begins with `where`, which names the flag.
    """
    told = str(annotation)
    if text.lower() == "none" and "None" in told:
        return None
    for kind in kinds(annotation):
        try:
            return kind(text)
        except ValueError:
            continue
    if "str" in told.replace("Mapping[str, int]", ""):
        return text
    needed = "a whole number, like 8" if "float" not in told else "a number, like 0.9"
    raise RequestError(f"{where} needs {needed}; got {text[:40]!r}.")
