"""What runs of whole models told → entries of the `calibration:` blocks that predictions read."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from math import exp, log
from pathlib import Path

from perfmodel.calibration import HOSTS
from perfmodel.catalog import RUNS, load_architecture, load_gpu
from perfmodel.engine import generations
from perfmodel.fitting.engines import EngineFit, Scored
from perfmodel.fitting.free import DECODE, FIXED, LINKS, OWN_LINK, STEP_S, link_constants, sustains
from perfmodel.fitting.runs import UNDER
from perfmodel.fitting.write import Fitted, architecture_file, put

SUSTAINED = "runs"
"""Library under which stands what devices sustain, whichever engine runs."""
FORMATS = {"bf16": "16", "fp8": "8", "fp4": "4"}
UNSEEN = ("setting", "device", "model", "version")
FEW = 30
"""Rows below which an engine might be any other."""
PULL = 20
"""How many rows of its own outweigh what the others show."""
KERNELS = {"overheads", "sustained", "decode", "decode-mha", "collective"}


def write_runs(fit: EngineFit, data: str, hardware: Path, date: datetime.date) -> list[Path]:
    """Put what the runs told into the files of architectures and devices; the files written."""
    told = f"runs of {data}"
    written = [put(architecture_file(hardware, RUNS), list(of_all(fit, told)), KERNELS, date, RUNS)]
    for name in fit.sustained:
        entries = list(_sustained(fit, name, "", told))
        written.append(put(architecture_file(hardware, name), entries, {"sustained"}, date, name))
    for device in fit.devices:
        file = hardware / f"{device}.yaml"
        if file.is_file():
            architecture = load_gpu(str(file)).architecture
            entries = list(_sustained(fit, architecture, device, told))
            written.append(put(file, entries, {"sustained"}, date))
    load_architecture.cache_clear()
    return written


def of_all(fit: EngineFit, data: str) -> Iterator[Fitted]:
    """Overheads and attention of each engine's generation, and the links whose hosts differ."""
    for engine, constants in fit.engines.items():
        row = next(row for row in generations(engine.split()[0]) if row.runs == _runs(engine))
        whole = {n: v for n, v in asdict(replace(row.overheads, **constants)).items() if v}  # type: ignore[arg-type]
        entry = _entry(fit, engine, "overheads", "any", whole, data)
        more: dict[str, Mapping[str, float]] = {
            "devices": fit.devices_of[engine],
            "models": fit.models_of[engine],
            "versions": {name: n for name, n in fit.versions_of[engine].items() if name},
            "spreads": dict(spreads(fit.scores, engine)),
        }
        yield replace(entry, more=more)
        for cache in DECODE:
            own = fit.attention.get(f"{engine} decode {cache}")
            for form in ("decode", "decode-mha") if own else ():
                yield _entry(fit, engine, form, cache, FIXED | (own or {}), data)
        if ring := fit.links.get(f"{engine} link"):
            yield _entry(fit, engine, "collective", OWN_LINK, {"step_s": STEP_S} | ring, data)
    for kind, host in LINKS.items():
        for size in host.shares:
            if f"{kind} {size}" in fit.links:
                flat = {f"{o}.{n}": v for o, own in fit.links.items() for n, v in own.items()}
                entry = _entry(
                    fit, "", "collective", f"{kind} all-reduce {size}", link_constants(kind, size, flat), data
                )
                yield replace(entry, library=HOSTS)


def spreads(scores: list[Scored], engine: str) -> Iterator[tuple[str, float]]:
    """Factors that hold 80 %, by phase and by what was not seen.

    An engine's own, drawn towards what all engines show; where it has few rows, towards what engines show that were
    left out of the fit.
    """
    for phase in ("prefill", "decode"):
        # batches tell it best; where an engine's were few, servers under load do
        kinds = (phase, "end to end", phase + UNDER)
        for unseen in UNSEEN:
            told = [s for kind in kinds for s in scores if (s.unseen, s.phase) == (unseen, kind)]
            own = max((s for s in told if s.engine == engine), key=lambda s: min(s.errors.n, FEW), default=None)
            everyone = next(s.spread for s in told if s.engine == "all" and s.phase == phase)
            strange = (s.spread for s in scores if (s.unseen, s.phase, s.engine) == ("engine", phase, "all"))
            n = own.errors.n if own is not None else 0
            usual = everyone if n >= FEW else max(everyone, next(strange))
            spread = exp((n * log(own.spread if own else 1) + PULL * log(usual)) / (n + PULL))
            yield f"{phase} {unseen}", round(spread, 3)


def _sustained(fit: EngineFit, architecture: str, device: str, data: str) -> Iterator[Fitted]:
    flat = {f"{o}.{n}": v for table in (fit.sustained, fit.devices) for o, own in table.items() for n, v in own.items()}
    for number_format, width in FORMATS.items():
        if f"{architecture}.compute {width}" in flat:
            constants = sustains(architecture, device, width, flat)
            yield Fitted(
                device, SUSTAINED, "sustained", number_format, constants, data, None, fit.rows, *_errors(fit, "all")
            )


def _entry(fit: EngineFit, engine: str, kernel: str, key: str, constants: Mapping[str, float], data: str) -> Fitted:
    points = fit.counts.get(engine, fit.rows)
    errors = _errors(fit, engine or "all")
    return Fitted("", _runs(engine) if engine else "", kernel, key, constants, data, None, points, *errors)


def _errors(fit: EngineFit, engine: str) -> tuple[float, float]:
    """Median and 90th percentile over the phases of rows whose setting was left out."""
    found = [s.errors for s in fit.scores if s.unseen == "setting" and s.engine == engine]
    total = sum(e.n for e in found) or 1
    return sum(e.median * e.n for e in found) / total, sum(e.p90 * e.n for e in found) / total


def _runs(engine: str) -> str:
    name, _, generation = engine.partition(" ")
    return f"{name} {generation or 'any'}"
