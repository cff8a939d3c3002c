"""This device measured, and its file written: kernels first, then small whole models, each in its part of a budget."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from perfmodel.catalog import data_folder, load_gpu
from perfmodel.deployment import Deployment, precision_for
from perfmodel.engine import engine
from perfmodel.errors import RequestError
from perfmodel.files import made_folder, write_whole
from perfmodel.fitting.device import FITS, fitted_to, kernel_fits, peaks, spec_text
from perfmodel.fitting.whole import Ran, overheads
from perfmodel.fitting.write import Fitted, put
from perfmodel.gpu import GPU
from perfmodel.measured.known import catalogued
from perfmodel.measured.measurements import KernelMeasurement, RunMeasurement, kernel_setting
from perfmodel.measured.results import KernelResults, Results, RunResults, taken_up
from perfmodel.model import Model
from perfmodel.workload import Workload

from . import cases, llama, measure, small
from .beside import FIGURES, Beside, expected_s, predicted
from .device import Device, head
from .microbench import Microbench, known_speed
from .timing import Timing

KERNELS = 0.7
"""Share of the budget that single kernels get; small models have the rest."""
SAVE_S = 5.0
"""Seconds after which what was measured is written down."""
ENGINES = {"eager": "torch", "compiled": "gpt-fast", "graphs": "gpt-fast"}
"""Ways to run → the engine whose overheads they tell."""
CAPABILITIES = {
    "6": "Pascal", "7.0": "Volta", "7.5": "Turing", "8.0": "Ampere", "8.6": "Ampere GDDR", "8.7": "Ampere GDDR",
    "8.9": "Ada", "9": "Hopper", "10": "Blackwell", "12": "Blackwell GDDR",
}  # fmt: skip

Tell = Callable[[str, float], None]
"""What is under way, and how far it is, from 0 to 1."""


@dataclass(frozen=True)
class Asked:
    """What is to be calibrated: on which device, in which formats, in how many seconds, kept and written where."""

    device: Device
    name: str
    formats: tuple[str, ...]
    budget_s: float
    results: Path
    hardware: Path
    command: str
    fresh: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it: the device's file, its constants, what was measured, and what could not be."""

    file: Path
    fits: tuple[Fitted, ...]
    results: tuple[Results, ...]
    left_out: dict[str, str]


def name_of(device: Device) -> str:
    """The catalog's name of a device; one made of what its driver calls it where the catalog has none."""
    known = catalogued(device.name, device.memory_bytes) if device.kind != "cpu" else None
    if known:
        return known
    words = "".join(c if c.isalnum() else " " for c in device.name.lower()).split()
    cores = [f"{device.compute_units}-cores"] if device.kind == "cpu" else []
    return "-".join([*words, *cores])[:80]


def formats_of(device: Device) -> tuple[str, ...]:
    """Formats of products that a device is worth measuring in; models run in the first of them."""
    if device.is_gpu:
        narrow = ("fp8",) if device.kind == "cuda" and float(device.capability or 0) >= 8.9 else ()
        return ("bf16", "w8", "w4", *narrow)
    if device.kind == "mps":
        return ("fp16",)
    return ("bf16", "fp32") if torch.ops.mkldnn._is_mkldnn_bf16_supported() else ("fp32",)


def calibrated(asked: Asked, tell: Tell) -> Outcome:
    """Measure and fit; an interruption leaves results files that the same call goes on with."""
    if find_spec("scipy") is None:
        raise RequestError('No module named scipy, which fits constants: pip install "perfmodel[validate]".')
    for folder in (asked.results, asked.hardware):
        made_folder(folder)
    kernels, left_out = _kernels(asked, tell)
    version = f"torch {kernels.software['torch']}"
    file, gpu = _own_file(asked, kernels)
    fits = list(kernel_fits(kernels.measurements, gpu, "microbenchmarks", version))
    if not any(fit.kernel == "gemm" for fit in fits):
        raise RequestError(
            f"{asked.device.name}: too few products were measured in {asked.budget_s:g} s to fit anything; "
            f"give more time, like --budget {4 * asked.budget_s:g}."
        )
    put(file, fits, {fit.kernel for fit in fits}, datetime.date.today())
    ways = ("eager", "graphs") if asked.device.is_gpu else ("eager",)
    runs = [_runs(asked, load_gpu(str(file)), way, tell, len(ways)) for way in ways]
    found = [_overheads(asked, load_gpu(str(file)), one, version) for one in runs]
    put(file, found, {"overheads"}, datetime.date.today())
    gpu = load_gpu(str(file))
    results = (with_fit(kernels, gpu), *(with_predictions(one, gpu) for one in runs))
    for one, path in zip(results, (_path(asked, "kernels"), *(_path(asked, way) for way in ways)), strict=True):
        one.save(path)
    return Outcome(file, (*fits, *found), results, left_out)


# ── kernels ──────────────────────────────────────────────────────────────────────────────────────


def _kernels(asked: Asked, tell: Tell) -> tuple[KernelResults, dict[str, str]]:
    """What was measured of single kernels, in this run or before it was interrupted; and what could not be."""
    path, left_out = _path(asked, "kernels"), dict[str, str]()
    fresh = KernelResults(**head(asked.device, asked.name, asked.command))
    held = fresh if asked.fresh else taken_up(path, fresh)
    assert isinstance(held, KernelResults)
    if held.complete:
        return held, left_out
    tell("measuring how fast the device is at all", 0.0)
    budget = KERNELS * asked.budget_s
    bench = Microbench(asked.device, budget, known_speed(asked.device))
    streams = tuple(name for name in asked.formats if name in llama.DTYPES)
    every = bench.affordable(cases.kernels(asked.formats, streams[:1], asked.device.count))
    done = held.settings
    wanted = [case for case in every if kernel_setting(case.kernel, case.format, case.sizes) not in done]
    begun = saved = time.monotonic()
    new: dict[Any, KernelMeasurement] = {}
    try:
        for read in bench.read(wanted):
            now = time.monotonic()
            tell(f"{read.case.kernel} {read.case.format}", min((now - begun) / budget, 1.0))
            if read.timing is None:
                left_out[f"{read.case.kernel} {read.case.format}"] = read.reason
                continue
            one = _measurement(read.case, read.timing)
            new[one.key] = one
            if now - saved > SAVE_S:
                held.with_measurements(new.values()).save(path)
                saved = now
    finally:
        held = held.with_measurements(new.values())
        held.save(path)
    held = held.with_measurements((), complete=True)
    held.save(path)
    return held, left_out


def _measurement(case: cases.Case, timing: Timing) -> KernelMeasurement:
    return KernelMeasurement(
        kernel=case.kernel,
        format=case.format,
        shape={name: float(size) for name, size in case.shape},
        value=timing.median,
        low=timing.low,
        high=timing.high,
        repeats=timing.repeats,
        used_in_fit=case.kernel in FITS,
    )


def _own_file(asked: Asked, kernels: KernelResults) -> tuple[Path, GPU]:
    """The device's file in the folder: the one that is there, a copy of the catalog's, or a new one."""
    file = asked.hardware / f"{asked.name}.yaml"
    if not file.is_file():
        known = data_folder("hardware") / f"{asked.name}.yaml"
        text = known.read_text(encoding="utf-8") if known.is_file() else _new_spec(asked, kernels)
        write_whole(file, text)
    return file, load_gpu(str(file))


def _new_spec(asked: Asked, kernels: KernelResults) -> str:
    device = asked.device
    flops, bandwidth = peaks(kernels.measurements, device.cache_bytes)
    if not flops or not bandwidth:
        raise RequestError(
            f"{device.name}: no peak was measured in {asked.budget_s:g} s; give more time, like "
            f"--budget {4 * asked.budget_s:g}."
        )
    facts = {
        "name": device.name,
        "memory_bytes": device.memory_bytes,
        "compute_units": device.compute_units,
        "clock_hz": device.clock_hz,
        "cache_bytes": device.cache_bytes,
        "architecture": architecture_of(device),
    }
    told = f"perfmodel calibrate on the device itself, torch {kernels.software['torch']}, {kernels.date}"
    return spec_text(asked.name, facts, flops, bandwidth, told)


def architecture_of(device: Device) -> str:
    """As hardware/ names it, where the driver tells."""
    if device.kind == "cuda":
        major = device.capability.split(".")[0]
        return (
            CAPABILITIES.get(device.capability) or CAPABILITIES.get(major) or f"compute capability {device.capability}"
        )
    return {"cpu": "CPU", "mps": "Apple"}.get(device.kind, device.kind)


# ── whole models ─────────────────────────────────────────────────────────────────────────────────


def _runs(asked: Asked, gpu: GPU, way: str, tell: Tell, ways: int) -> RunResults:
    """Small models run whole, each for its part of the time."""
    path, fresh = _path(asked, way), RunResults(**head(asked.device, asked.name, asked.command))
    held = fresh if asked.fresh else taken_up(path, fresh)
    assert isinstance(held, RunResults)
    if held.complete:
        return held
    budget = (1 - KERNELS) * asked.budget_s / ways / len(small.SIZES)
    weights = asked.formats[0]
    for i, size in enumerate(small.SIZES):
        tell(f"a model of {size.layers} layers of {size.width}, {way}", i / len(small.SIZES))
        plan = plan_of(gpu, small.model_of(size), weights, way)
        if 4 * size.parameters < asked.device.memory_bytes / 4:
            held = held.with_measurements(_ran(asked.device, plan, way, budget, held))
            held.save(path)
    held = held.with_measurements((), complete=True)
    held.save(path)
    return held


def plan_of(gpu: GPU, model: Model, weights: str, way: str) -> Deployment:
    """A model on one device under torch, run that way."""
    stream = weights if weights in llama.DTYPES else None
    return Deployment(model, gpu, precision_for(gpu, weights, stream), engine(ENGINES[way]))


def _ran(device: Device, plan: Deployment, way: str, budget_s: float, held: RunResults) -> list[RunMeasurement]:
    """What one model took on as many settings as there is time for."""
    built = llama.build(plan.model, dtype=plan.precision.stream.name, device=device.torch)
    beside = Beside(measure.Run(built, device, way), plan, plan.precision.weights.name, plan.model.layers)
    found, spent = list[RunMeasurement](), 0.0
    for phase, setting in small.settings():
        if phase not in measure.PHASES[way]:
            continue
        figure = FIGURES[phase]
        seconds = 2 * (READINGS + 2) * expected_s(plan, setting)[list(FIGURES).index(phase)]
        if spent + seconds > budget_s or not beside.ran.fits(setting):
            continue
        begun = time.monotonic()
        if (beside.kept_as(setting), figure) not in held.keys:
            timing = Timing.of(beside.ran.readings(phase, setting, READINGS))
            found.append(beside.measurement(setting, figure, timing, used_in_fit=True))
        spent += time.monotonic() - begun
    return found


READINGS = 5


def _overheads(asked: Asked, gpu: GPU, held: RunResults, version: str) -> Fitted:
    """The overheads of the engine that these runs tell of."""
    ran = []
    for size in small.SIZES:
        model = small.model_of(size)
        for phase, figure in FIGURES.items():
            mine = [m for m in held.measurements if (m.model, m.figure) == (model.name, figure)]
            if mine:
                plan = plan_of(gpu, model, asked.formats[0], mine[0].way)
                tokens = np.array([m.prompt + (m.output - 1) / 2 if phase == "decode" else m.prompt for m in mine])
                batch, seconds = (np.array([float(getattr(m, name)) for m in mine]) for name in ("batch", "value"))
                ran.append(Ran(plan, phase, batch, tokens.astype(float), seconds))
    if not ran:
        raise RequestError(
            f"no model ran within {asked.budget_s:g} s; give more time: --budget {4 * asked.budget_s:g}."
        )
    return overheads(ran, "small models", version, asked.device.is_gpu and held.measurements[0].way == "eager")[0]


# ── what the fit says ────────────────────────────────────────────────────────────────────────────


def with_fit(results: KernelResults, gpu: GPU) -> KernelResults:
    """The same with what the constants say of each kernel that has some."""
    found = []
    for kernel, number_format in dict.fromkeys((m.kernel, m.format) for m in results.measurements):
        mine = [m for m in results.measurements if (m.kernel, m.format) == (kernel, number_format)]
        found += fitted_to(mine, gpu)
    return results.with_measurements(found)


def with_predictions(results: RunResults, gpu: GPU) -> RunResults:
    """The same with what is expected of each run."""
    models = {model.name: model for model in map(small.model_of, small.SIZES)}
    found = []
    for m in results.measurements:
        plan = plan_of(gpu, models[m.model], m.weights, m.way)
        told = predicted(plan, m.figure, Workload(m.prompt, m.output, m.batch))
        found.append(m.model_copy(update={"predicted": told}))
    return results.with_measurements(found)


def _path(asked: Asked, what: str) -> Path:
    return asked.results / f"{asked.name}-{what}.json"
