"""Fitted constants → `calibration:` blocks of hardware files, and the means of architectures and of all devices."""

from __future__ import annotations

import datetime
import json
import os
import re
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import exp, log
from pathlib import Path
from typing import Any

from perfmodel.calibrated import Architecture
from perfmodel.catalog import ALL, architecture_stem, load_architecture, load_gpu, read_yaml
from perfmodel.errors import RequestError, SpecError
from perfmodel.gpu import GPU
from perfmodel.spec import checked

PARTED = ("tile", "one_limit", "two_limit")
"""Constants that are chosen, not measured: an architecture has the middle one, not a mean."""

_BLOCK = re.compile(r"^calibration:.*\n(?:(?:(?:#.*)?\n)* .*\n)*", re.MULTILINE)

Name = tuple[str, str, str]
"""Library, kernel, format."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The constants of one kernel in one format, of one library on one device, and how well they fit.

    `median` and `p90` are absolute errors, as fractions, on shapes that the fit had not seen. `more` is what else
    `perfmodel.calibrated.Fit` has of runs of whole models.
    """

    device: str
    library: str
    kernel: str
    key: str
    constants: Mapping[str, float]
    data: str
    version: str | None
    points: int
    median: float
    p90: float
    more: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def name(self) -> Name:
        return self.library, self.kernel, self.key

    def to_dict(self) -> dict[str, Any]:
        """The JSON contract of docs/json.md."""
        named = asdict(self)
        return {"format": named.pop("key"), "median_ape": named.pop("median"), "p90_ape": named.pop("p90")} | named

    @property
    def source(self) -> str:
        """What was measured, whichever version of it."""
        return self.data.split()[0]


def write(fits: Iterable[Fitted], hardware: Path, date: datetime.date) -> list[Path]:
    """Put every fit into the file of its device, and means into hardware/architectures/; the files written.

    The fits of a kernel replace all that their source told of it before. What else a file holds stays as it stands,
    byte for byte. Means are those of all devices of the folder that the same sources measured.
    """
    listed = list(fits)
    sources = {fit.source for fit in listed}
    written = []
    for name in dict.fromkeys(fit.device for fit in listed):
        own = [fit for fit in listed if fit.device == name]
        written.append(put(file_of(hardware, name), own, {fit.kernel for fit in own}, date))
    known = [(gpu.architecture, fit) for gpu in calibrated(hardware) for fit in told(gpu) if fit.source in sources]
    mine = {architecture for architecture, fit in known if any(fit.device == new.device for new in listed)}
    for title in (*sorted(mine), ALL):
        members = [fit for architecture, fit in known if title in (architecture, ALL)]
        kernels = {fit.kernel for fit in members}
        written.append(put(architecture_file(hardware, title), means(members), kernels, date, title))
    load_architecture.cache_clear()
    return written


def file_of(hardware: Path, device: str) -> Path:
    file = hardware / f"{device}.yaml"
    if not file.is_file():
        raise RequestError(f"{file} is not there to hold what is fitted; give the folder of the device's own file.")
    return file


def architecture_file(hardware: Path, name: str) -> Path:
    return hardware / "architectures" / f"{architecture_stem(name)}.yaml"


def calibrated(hardware: Path) -> Iterator[GPU]:
    """The devices of a folder whose files hold constants."""
    for file in sorted(hardware.glob("*.yaml")):
        if _BLOCK.search(file.read_text(encoding="utf-8")):
            yield load_gpu(str(file))


def told(gpu: GPU) -> Iterator[Fitted]:
    """What the file of a device holds, entry by entry."""
    for library, block in gpu.calibration.items():
        for kernel, by_key in block.kernels.items():
            for key, entry in by_key.items():
                rests = entry.fit
                yield Fitted(
                    gpu.name, library, kernel, key, entry.constants, rests.data, rests.version, rests.points,
                    rests.median, rests.p90,
                )  # fmt: skip


def means(fits: list[Fitted]) -> list[Fitted]:
    """One fit of each library, kernel and format: the geometric mean over devices.

    A constant that is left out is 0, and is left out of the mean where it is on half of the devices or more. Errors
    are those of the worst device: what a device gets that nobody measured is told by leaving one out.
    """
    groups: dict[Name, list[Fitted]] = {}
    for fit in fits:
        groups.setdefault(fit.name, []).append(fit)
    return [_mean(members) for members in groups.values()]


def _mean(fits: list[Fitted]) -> Fitted:
    whole = sorted(fits, key=lambda fit: -len(fit.constants))
    values = {name: [fit.constants[name] for fit in fits if name in fit.constants] for name in _names(whole)}
    constants = {name: _middle(name, known) for name, known in values.items() if len(known) > len(fits) / 2}
    versions = sorted({fit.version for fit in fits if fit.version})
    return Fitted(
        ", ".join(sorted({fit.device for fit in fits})),
        fits[0].library,
        fits[0].kernel,
        fits[0].key,
        constants,
        ", ".join(sorted({fit.data for fit in fits})),
        ", ".join(versions) or None,
        sum(fit.points for fit in fits),
        max(fit.median for fit in fits),
        max(fit.p90 for fit in fits),
    )


def _names(fits: list[Fitted]) -> dict[str, None]:
    return dict.fromkeys(name for fit in fits for name in fit.constants)


def _middle(name: str, values: list[float]) -> float:
    if name in PARTED or min(values) <= 0:
        return statistics.median_low(values)
    return exp(statistics.fmean(log(value) for value in values))


# ── text ─────────────────────────────────────────────────────────────────────────────────────────


def put(file: Path, fits: list[Fitted], kernels: set[str], date: datetime.date, title: str = "") -> Path:
    """Every entry where it stands, with what is new of it; those that nobody had before after them."""
    text = file.read_text(encoding="utf-8") if file.is_file() else _head(title, fits, file.parent.parent)
    text += "" if text.endswith("\n") else "\n"
    stands = _BLOCK.search(text)
    before, after = (text[: stands.start()], text[stands.end() :]) if stands else (text, "")
    new = {fit.name: _entry(fit, date) for fit in fits}
    old = _entries(stands[0]) if stands else {}
    sources = {fit.source for fit in fits}
    gone = _replaced(file, old, kernels, sources, title) if stands else set()
    entries = {name: new.get(name, lines) for name, lines in old.items() if name in new or name not in gone}
    _replace(file, before + _laid_out(entries | new) + after, Architecture if title else GPU)
    return file


def _head(title: str, fits: list[Fitted], hardware: Path) -> str:
    """The first lines of an architecture's file: its name, and the power that its devices have for their peaks."""
    names = sorted({name for fit in fits for name in fit.device.split(", ")})
    gpus = [load_gpu(str(hardware / f"{name}.yaml")) for name in names if name]
    watts = [gpu.power / gpu.peak("bf16") for gpu in gpus if gpu.power is not None]
    return f"title: {title}\n" + (f"watts_per_flops: {statistics.geometric_mean(watts):.4g}\n" if watts else "")


def _entries(text: str) -> dict[Name, list[str]]:
    """The lines of each entry of a block, comments above it included."""
    found: dict[Name, list[str]] = {}
    library = kernel = ""
    above: list[str] = []
    for line in text.splitlines()[1:]:
        bare = line.strip()
        indent, name = len(line) - len(line.lstrip()), bare.removesuffix(":")
        if not bare or bare.startswith("#"):
            above += [line] if bare else []
        elif indent == 2:
            library = name
        elif indent == 6:
            kernel = name
        elif indent == 8:
            found[library, kernel, name] = [*above, line]
            above = []
        elif indent > 8 and found:
            found[next(reversed(found))] += [*above, line]
            above = []
    return found


def _replaced(
    file: Path, entries: Mapping[Name, list[str]], kernels: set[str], sources: set[str], title: str
) -> set[Name]:
    """What the same sources told before of the same kernels. SpecError where lines and YAML do not agree."""
    spec = checked(Architecture, read_yaml(file), file.name) if title else load_gpu(str(file))
    rests = {
        (library, kernel, key): entry.fit
        for library, held in spec.calibration.items()
        for kernel, by_key in held.kernels.items()
        for key, entry in by_key.items()
    }
    if rests.keys() != entries.keys():
        raise SpecError(f"{file}: calibration: is not laid out as perfmodel writes it, one entry below the other.")
    return {name for name, fit in rests.items() if name[1] in kernels and fit.data.split()[0] in sources}


def block(fits: list[Fitted], date: datetime.date) -> str:
    """The YAML of a `calibration:` block."""
    return _laid_out({fit.name: _entry(fit, date) for fit in fits})


def _laid_out(entries: Mapping[Name, list[str]]) -> str:
    lines = ["calibration:"]
    for library in dict.fromkeys(name[0] for name in entries):
        lines += [f"  {library}:", "    kernels:"]
        for kernel in dict.fromkeys(name[1] for name in entries if name[0] == library):
            lines.append(f"      {kernel}:")
            lines += [line for name, own in entries.items() if name[:2] == (library, kernel) for line in own]
    return "\n".join(lines) + "\n"


def _entry(fit: Fitted, date: datetime.date) -> list[str]:
    constants = ", ".join(f"{name}: {_written(name, value)}" for name, value in fit.constants.items())
    version = [f'version: "{fit.version}"'] if fit.version else []
    rests = [f"data: {_quoted(fit.data)}", *version, f"date: {date.isoformat()}", f"points: {fit.points}"]
    rests += [f"median: {fit.median:.4f}", f"p90: {fit.p90:.4f}"]
    for name, counts in fit.more.items():
        rests.append(f"{name}: {{{', '.join(f'{_quoted(key)}: {value:.5g}' for key, value in counts.items())}}}")
    return [
        f"        {fit.key}:",
        f"          constants: {{{constants}}}",
        f"          fit: {{{', '.join(rests)}}}",
    ]


def _quoted(word: str) -> str:
    """A word in quotes, where YAML might read something else."""
    plain = re.fullmatch(r"[A-Za-z][\w .+-]*", word)
    return word if plain else json.dumps(word, ensure_ascii=False)


def _written(name: str, value: float) -> str:
    """Four digits, so that YAML reads a number: 0.8213, 2.97e-06; all of them of what was chosen: 917504.0."""
    text = f"{float(value):.17g}" if name in PARTED else f"{float(value):.4g}"
    mantissa, e, exponent = text.partition("e")
    return (mantissa if "." in mantissa else f"{mantissa}.0") + e + exponent


def _replace(file: Path, text: str, kind: type[Architecture | GPU]) -> None:
    """Write all of it or nothing, and nothing that could not be read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
        checked(kind, read_yaml(Path(name)), file.name)
        Path(name).chmod(0o644)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
