"""A results file: what was measured on one device by one command, beside what was predicted of it.

`load` reads one and checks every field; `Results.save` writes it whole or not at all. A run that is interrupted leaves
`complete: false` and what it had; it goes on by `taken_up`, less the
`Results.settings` that are there.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from perfmodel.errors import RequestError, SpecError, one_line
from perfmodel.files import write_whole
from perfmodel.measured.measurements import KernelMeasurement, Measurement, Name, RunMeasurement, printable
from perfmodel.reading import json_in, text_within
from perfmodel.spec import Spec, checked

FORMAT = 1
LARGEST = 50_000_000  # bytes; some hundred thousand measurements


def _day(text: str) -> str:
    try:
        read = datetime.date.fromisoformat(text).isoformat()
    except ValueError:
        read = ""
    if read != text:
        raise ValueError(f'needs a day, like "2025-11-30"; got {text[:40]!r}')
    return text


def _software(found: Mapping[str, str]) -> Mapping[str, str]:
    missing = [name for name in ("torch", "perfmodel", "python", "os") if name not in found]
    if missing:
        raise ValueError(f"needs the version of {missing[0]}; got {', '.join(found) or 'none at all'}")
    return found


Day = Annotated[str, Field(strict=True), AfterValidator(_day)]
Software = Annotated[dict[Name, Name], Field(max_length=50), AfterValidator(_software)]
Command = Annotated[str, Field(strict=True, min_length=1, max_length=4000), AfterValidator(printable)]


class Device(Spec):
    """What was measured on; `gpu` is its name in the catalog, None where that has none."""

    name: Name
    kind: Literal["cpu", "cuda", "rocm", "mps"]
    gpu: Name | None = None
    driver: Name | None = None
    memory_bytes: Annotated[int, Field(strict=True, gt=0, lt=10**18)]
    compute_units: Annotated[int, Field(strict=True, gt=0, lt=10**9)]
    clock_hz: Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)] | None = None
    temperature_c: Annotated[float, Field(strict=True, gt=-273, lt=1000)] | None = None


class Results(Spec):
    """One results file; `RunResults` or `KernelResults`, by its kind."""

    format: Literal[1] = 1
    kind: Literal["run", "kernels"]
    device: Device
    software: Software
    date: Day
    command: Command
    complete: Annotated[bool, Field(strict=True)] = False
    measurements: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _each_once(self) -> Results:
        seen: dict[Any, int] = {}
        for i, one in enumerate(self.measurements):
            if (first := seen.setdefault(one.key, i)) != i:
                raise ValueError(f"measurements.{i} is of the same as measurements.{first}; keep one of them")
        return self

    @property
    def keys(self) -> frozenset[Any]:
        """What is held already: the `key` of each measurement."""
        return frozenset(one.key for one in self.measurements)

    @property
    def settings(self) -> frozenset[Any]:
        """What was run or timed already, whichever figure of it: a `Setting`, or a `kernel_setting`, each."""
        return frozenset(one.setting for one in self.measurements)

    def with_measurements(self, new: Iterable[Measurement], complete: bool | None = None) -> Results:
        """These results and `new` ones, which take the place of older ones of their key."""
        held = {one.key: one for one in self.measurements} | {one.key: one for one in new}
        changes = {"measurements": tuple(held.values())} | ({} if complete is None else {"complete": complete})
        wanted = RunMeasurement if self.kind == "run" else KernelMeasurement
        if not all(isinstance(one, wanted) for one in held.values()):
            raise RequestError(f'Results of kind "{self.kind}" hold measurements of that kind only.')
        return self.model_copy(update=changes)

    def save(self, path: Path | str) -> None:
        """Write the file, one measurement a line; it takes the old one's place when it is whole."""
        head = self.model_dump(exclude={"measurements"})
        lines = ",\n".join(_line(one) for one in self.measurements)
        opened = json.dumps(head, indent=1, ensure_ascii=False, allow_nan=False)[:-2]
        write_whole(Path(path), f'{opened},\n "measurements": [\n{lines}\n ]\n}}\n')


class RunResults(Results):
    """Times, memory and gains of whole models."""

    kind: Literal["run"] = "run"
    measurements: Annotated[tuple[RunMeasurement, ...], Field(max_length=1_000_000)] = ()


class KernelResults(Results):
    """Times of single kernels."""

    kind: Literal["kernels"] = "kernels"
    measurements: Annotated[tuple[KernelMeasurement, ...], Field(max_length=1_000_000)] = ()


_KINDS: dict[Any, type[Results]] = {"run": RunResults, "kernels": KernelResults}


def load(path: Path | str, shown: str = "") -> Results:
    """The results in a file, which SpecError calls `shown`; every field is checked."""
    where = one_line(shown or str(path))
    wanted = "a results file (JSON, docs/json.md)"
    text = text_within(Path(path), where, wanted, LARGEST, "; split it", f"; give {wanted}")
    data = json_in(text, where, "a results file", nan=False)
    if not isinstance(data, dict):
        raise SpecError(f"{where}: must be one object; give {wanted}.")
    return checked(_told_apart(data, where), data, where)


def taken_up(path: Path | str, fresh: Results) -> Results:
    """The results in a file, to go on with; `fresh` where there is none.

    RequestError where the file holds results of another kind, device or software than `fresh`, which do not mix.
    """
    if not Path(path).exists():
        return fresh
    held = load(path)
    for what, theirs, ours in (
        ("kind", held.kind, fresh.kind),
        ("device", held.device.name, fresh.device.name),
        ("driver", held.device.driver, fresh.device.driver),
        *((name, held.software.get(name), version) for name, version in fresh.software.items()),
    ):
        if theirs != ours:
            raise RequestError(
                f"{path}: holds results of {what} {theirs!r}, not {ours!r}; keep these in another folder (--results), "
                "or measure anew (--fresh)."
            )
    return held


def _told_apart(data: Mapping[str, Any], where: str) -> type[Results]:
    """Which kind of results the file says that it holds; SpecError where it is of another format or kind."""
    version, kind = data.get("format"), data.get("kind")
    if version != FORMAT or isinstance(version, bool):
        got = f"got {str(version)[:20]}" if "format" in data else "it is missing"
        raise SpecError(f"{where}: format: must be {FORMAT}, the one that this version of perfmodel reads; {got}.")
    if not isinstance(kind, str) or kind not in _KINDS:
        got = f"got {str(kind)[:20]!r}" if "kind" in data else "it is missing"
        raise SpecError(f"{where}: kind: must be 'run' or 'kernels'; {got}.")
    return _KINDS[kind]


def _line(one: Measurement) -> str:
    """A measurement on one line, without the counts that it has not."""
    data = one.model_dump()
    if isinstance(one, KernelMeasurement):  # sizes are whole, as a rule
        data["shape"] = {name: int(size) if size.is_integer() else size for name, size in one.shape.items()}
    spare = [name for name in ("flops", "bytes") if data[name] is None]
    kept = {name: value for name, value in data.items() if name not in spare}
    return "  " + json.dumps(kept, ensure_ascii=False, allow_nan=False)


def results_in(paths: Sequence[Path]) -> dict[str, Results]:
    """The results of each file, and of each .json file of a folder, by the name of the file."""
    found: dict[str, Results] = {}
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise RequestError(f"{path}: is a folder without results files (*.json); name files or another folder.")
        found |= {one_line(str(file)): load(file) for file in files}
    return found
