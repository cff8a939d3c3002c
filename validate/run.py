"""`perfmodel validate run`: a real Llama on this device beside what perfmodel says of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from perfmodel.deployment import Deployment, precision_for
from perfmodel.engine import engine
from perfmodel.errors import RequestError
from perfmodel.files import made_folder
from perfmodel.gpu import GPU
from perfmodel.measured.measurements import RunMeasurement
from perfmodel.measured.results import RunResults, taken_up
from perfmodel.model import Model
from perfmodel.scaling import scaled

from . import llama
from .beside import Beside, expected_s
from .calibrate import ENGINES
from .device import Device, head
from .drafting import Draft, drafted, gained
from .measure import PHASES, Run, Setting, check_way, time_of
from .quantized import SCHEMES, quantized
from .timing import Timing

ROUNDS, READINGS = 3, 2
"""Rounds over all settings, and readings of each in a round: what drifts drifts for all of them."""
SETUP_S = {"eager": 0.05, "graphs": 2.0, "compiled": 60.0}
"""What preparing a setting takes in each round: its cache, and capturing or compiling a step."""
WEIGHTS_SHARE = 0.8
"""Part of the device's memory that weights may have; the rest is for cache and activations."""
DRIFTED = 0.08
"""How much faster or slower than when it was calibrated a device may read weights without its being told."""

Tell = Callable[[str, float], None]


@dataclass(frozen=True)
class Asked:
    """What is to be run, on what, and where it is kept.

    `file` holds weights, which are random without; `draft` is a draft and how many tokens it guesses.
    """

    device: Device
    gpu: GPU
    model: Model
    weights: str
    way: str
    attention: str
    batches: tuple[int, ...]
    prompts: tuple[int, ...]
    output: int
    command: str
    results: Path
    layers: int | None = None
    cache: bool = True
    ops: bool = False
    file: Path | None = None
    budget_s: float = 600.0
    fresh: bool = False
    draft: tuple[str, int] | None = None

    @property
    def settings(self) -> list[Setting]:
        return [Setting(b, p, self.output, self.cache) for b in self.batches for p in self.prompts]


@dataclass(frozen=True)
class Outcome:
    """What came of it: measurements beside predictions, the file that keeps them, and what is to be said about them."""

    results: RunResults
    path: Path
    notes: tuple[str, ...]


def run(asked: Asked, tell: Tell) -> Outcome:
    """Measure every setting that there is memory and time for; an interruption keeps what was measured."""
    path = made_folder(asked.results) / f"{asked.gpu.name}-{asked.model.name}-{asked.weights}-{asked.way}.json"
    fresh = RunResults(**head(asked.device, asked.gpu.name, asked.command))
    held = fresh if asked.fresh else taken_up(path, fresh)
    assert isinstance(held, RunResults)
    plan = _plan(asked)
    tell(f"building {asked.model.name}", 0.0)
    ran = Run(_built(asked, plan), asked.device, asked.way)
    beside = Beside(ran, plan, asked.weights, asked.model.layers)
    wanted, notes = _affordable(ran, plan, asked)
    notes += _drift(ran, plan)

    def keep(new: Iterable[RunMeasurement]) -> None:
        nonlocal held
        held = held.with_measurements(new)
        held.save(path)

    whole = {m.setting for m in held.measurements if m.figure == "tpot_s" and m.repeats >= ROUNDS * READINGS}
    new = [s for s in wanted if beside.kept_as(s) not in whole]
    notes += _timed(beside, new, keep, tell)
    for i, setting in enumerate(new):
        tell(f"memory and ops, batch {setting.batch}, prompt {setting.prompt}", i / len(new))
        notes += _caught(setting, lambda s=setting: keep(beside.memory_and_ops(s, asked.ops)))
    if asked.draft:
        draft = drafted(ran.llama, plan.model, *asked.draft, random=asked.file is None)
        for prompt in asked.prompts:
            tell(f"speculation, prompt {prompt}", 0.9)
            keep(_speculated(beside, Setting(1, prompt, asked.output), draft))
    if plan.model.layers < asked.model.layers:
        notes += beside.of_all_layers(held, asked.model)
    held = held.with_measurements((), complete=True)
    held.save(path)
    return Outcome(held, path, tuple(notes))


# ── what is run ──────────────────────────────────────────────────────────────────────────────────


def _plan(asked: Asked) -> Deployment:
    """The deployment with as many layers as memory allows, or as were asked for."""
    stream = asked.weights if asked.weights in llama.DTYPES else None
    if stream is None and asked.weights not in SCHEMES:
        known = ", ".join([*llama.DTYPES, *SCHEMES])
        raise RequestError(f'--weights: no torch model runs in "{asked.weights[:40]}"; known: {known}.')
    check_way(asked.way, asked.device)
    if asked.layers is not None and not 1 <= asked.layers <= asked.model.layers:
        raise RequestError(f"--layers: {asked.model.name} has {asked.model.layers} layers; got {asked.layers}.")
    precision = precision_for(asked.gpu, asked.weights, stream)
    plan = Deployment(asked.model, asked.gpu, precision, engine(ENGINES[asked.way]), cache=asked.cache)
    plan = replace(plan, attention=asked.attention)
    most = asked.layers or _layers_that_fit(plan, asked.device.memory_bytes)
    if most >= asked.model.layers:
        return plan
    cut = scaled(asked.model, layers=most).model_copy(update={"name": asked.model.name})
    return replace(plan, model=cut)


def _layers_that_fit(plan: Deployment, memory_bytes: int) -> int:
    """Layers whose weights, in 16 bits while they are built, leave room for cache and activations."""
    sizes = plan.model.weight_bytes(plan.precision)
    outside = sum(size for name, size in sizes.items() if name != "layers")
    each = sizes["layers"] * max(16 / plan.precision.weights.bits, 1) / plan.model.layers
    most = int((WEIGHTS_SHARE * memory_bytes - outside) / each)
    if most < 1:
        raise RequestError(f"{plan.model.name}: not even one layer fits in {memory_bytes / 1e9:.4g} GB.")
    return min(most, plan.model.layers)


def _built(asked: Asked, plan: Deployment) -> llama.Llama:
    built = llama.build(
        asked.model,
        dtype=plan.precision.stream.name,
        device=asked.device.torch,
        attention="naive" if asked.attention == "naive" else "sdpa",
        layers=plan.model.layers,
        weights=asked.file,
    )
    if asked.weights in SCHEMES:
        quantized(built, asked.weights)
    return built


def _affordable(ran: Run, plan: Deployment, asked: Asked) -> tuple[list[Setting], list[str]]:
    """The settings that fit in memory and together in the time, the quickest first where not all do; and the others."""
    notes, kept, spent = list[str](), list[Setting](), 0.0
    for setting in sorted(asked.settings, key=lambda s: sum(expected_s(plan, s))):
        seconds = 1.3 * (READINGS + 1) * sum(expected_s(plan, setting)) * (2 if asked.ops else 1)
        seconds = ROUNDS * (seconds + SETUP_S[asked.way])
        what = f"batch {setting.batch}, prompt {setting.prompt}"
        if not ran.fits(setting):
            notes.append(f"{what} was left out: it does not fit in {asked.device.memory_bytes / 1e9:.4g} GB")
        elif kept and spent + seconds > asked.budget_s:
            notes.append(f"{what} was left out: no time for it within {asked.budget_s:.0f} s (--budget)")
        else:
            kept.append(setting)
            spent += seconds
    return [s for s in asked.settings if s in kept], notes


# ── what is measured ─────────────────────────────────────────────────────────────────────────────


def _timed(
    beside: Beside, settings: list[Setting], keep: Callable[[Iterable[RunMeasurement]], None], tell: Tell
) -> list[str]:
    """Prefill and decode of every setting, in rounds over all of them."""
    readings: dict[tuple[Setting, str], list[float]] = {}
    notes: dict[str, None] = {}
    for number in range(ROUNDS):
        for i, setting in enumerate(settings):
            tell(f"batch {setting.batch}, prompt {setting.prompt}", (number + i / len(settings)) / ROUNDS)

            def measure(s: Setting = setting) -> None:
                for phase in PHASES[beside.ran.way]:
                    readings.setdefault((s, phase), []).extend(beside.ran.readings(phase, s, READINGS))
                    keep([beside.timed(s, phase, Timing.of(readings[s, phase]))])

            notes |= dict.fromkeys(_caught(setting, measure))
    return list(notes)


def _caught(setting: Setting, measure: Callable[[], None]) -> Iterator[str]:
    """Measure; a sentence where memory ran out, which the settings after it may well have enough of."""
    try:
        measure()
    except RuntimeError as error:  # what torch raises, of whichever device
        if "memory" not in str(error):
            raise
        yield f"batch {setting.batch}, prompt {setting.prompt} ran out of memory, and was left out"


def _speculated(beside: Beside, setting: Setting, draft: Draft) -> Iterator[RunMeasurement]:
    """Tokens a pass and speed-up of guessing ahead, for one sequence; the speed-up is predicted from the tokens."""
    length, speedup, told = gained(beside.ran, beside.plan, setting, draft)
    yield beside.measurement(setting, "accepted_length", length, draft=draft.name)
    yield beside.measurement(setting, "speedup", speedup, draft=draft.name, predicted=told)


def _drift(ran: Run, plan: Deployment) -> Iterator[str]:
    """Whether the device reads weights as fast as when it was calibrated; on shared machines it may not."""
    if not (calibrated := plan.gpu.calibration.get("torch")) or "gemm" not in calibrated.kernels:
        yield f"{plan.gpu.name} has no constants of torch on file; `perfmodel calibrate` measures them"
        return
    ran.allocated(Setting(1, 8, 2))
    token = ran.tokens(Setting(1, 1, 1))[:, 0]
    ratio = time_of(lambda: ran.llama.decode(token, 8), ran.device, 9).median / expected_s(plan, Setting(1, 8, 2))[1]
    if abs(ratio - 1) > DRIFTED and ran.device.kind == "cpu":
        yield (
            f"a short decode step takes {ratio:.2f} times what is expected of it before anything else runs: where that "
            "was not so when the device was calibrated, others slow it down now, or did then"
        )
