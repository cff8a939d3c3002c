"""A study as a YAML file: keys are the flags of `perfmodel sweep`, values one or several of theirs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from perfmodel.catalog import add_path, known_paths, read_yaml
from perfmodel.errors import PerfModelError, SpecError, one_line
from perfmodel.spec import nearest
from perfmodel.study.axes import axis, parameter_of

ASKED = ("sample", "seed", "where", "fits_only", "columns", "breakdown")
"""What a study says beside its axes."""
SHOWN = ("sort", "top")
"""What it says of how the command line shows it."""


def study_file(file: Path) -> dict[str, Any]:
    """The keywords of `perfmodel.sweep` that a study file holds; SpecError names the file, the key and the remedy."""
    return {name: value for name, value in read_study(file).items() if name not in SHOWN}


def read_study(file: Path) -> dict[str, Any]:
    """All that a study file says, keys as Python has them."""
    where = one_line(str(file))
    data = read_yaml(file)
    if not isinstance(data, Mapping):
        raise SpecError(f'{where}: must be a mapping of flags to values, like "model: [llama3-8b, llama3-70b]".')
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = str(key).replace("-", "_")
        if name == "path":
            _take_up(value, file, where)
            continue
        if name in (*ASKED, *SHOWN):
            found[name] = _asked(name, value, where)
            continue
        try:
            own = parameter_of(name).name
        except PerfModelError:
            raise SpecError(f"{where}: {str(key)[:40]} is not a known key; {_hint(name)}") from None
        if own in found:
            raise SpecError(f"{where}: {key}: stands twice.")
        if value is None or (isinstance(value, (list, dict)) and not value):
            raise SpecError(f"{where}: {key}: needs a value, or several: [1, 2, 4].")
        found[own] = _turned(name, own, value, where)
        try:
            axis(own, found[own])
        except PerfModelError as error:
            raise SpecError(f"{where}: {key}: {error}") from None
    return found


def _hint(name: str) -> str:
    guess = nearest(name, [*_keys(), *ASKED, *SHOWN, "path"])
    if guess:
        return f'did you mean "{guess}"?'
    return "keys are the flags of perfmodel sweep, without the dashes."


def _keys() -> list[str]:
    from perfmodel.flags import flags

    return [flag.replace("-", "_") for flag in flags()]


def _turned(name: str, own: str, value: Any, where: str) -> Any:
    """`no_kv_cache: true` as what it says of kv_cache."""
    if name == own:
        return value
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(one, bool) for one in values):
        raise SpecError(f"{where}: {name}: is true or false, or both: [true, false]; got {value!r:.40}.")
    return [not one for one in values] if isinstance(value, list) else not value


def _asked(name: str, value: Any, where: str) -> Any:
    kinds: dict[str, tuple[type, ...]] = {"sample": (int,), "seed": (int,), "top": (int,), "sort": (str,)}
    wanted = kinds.get(name, (bool,) if name in ("fits_only", "breakdown") else (str, list))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        told = {int: "a whole number", str: "text", bool: "true or false", list: "a list"}
        raise SpecError(f"{where}: {name}: must be {' or '.join(told[kind] for kind in wanted)}; got {value!r:.40}.")
    if isinstance(value, list) and not all(isinstance(one, str) for one in value):
        raise SpecError(f'{where}: {name}: must be a list of texts, like ["ttft_ms<500"]; got {value!r:.40}.')
    return value


def _take_up(value: Any, file: Path, where: str) -> None:
    """Folders of own specs, from where the file lies."""
    folders = value if isinstance(value, list) else [value]
    for folder in folders:
        if not isinstance(folder, str):
            raise SpecError(f"{where}: path: must be a folder, or a list of them; got {folder!r:.40}.")
        found = (file.parent / Path(folder).expanduser()).absolute()
        if found not in known_paths():
            try:
                add_path(found)
            except SpecError as error:
                raise SpecError(f"{where}: path: {error}") from None
