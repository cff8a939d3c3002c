"""What one benchmark run says, and what flags say of it → rows of measurements."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError, one_line
from perfmodel.published.names import UNKNOWN, Unscored, gpu_of, model_of, precision_of, served
from perfmodel.published.questions import Plans
from perfmodel.published.rows import Row

ALIKE = 0.05
"""How far a stated length may be from the mean that a file tells: tokenizers count a few tokens more."""
WAITING = 0.5
"""Share of a request's time before its first token beyond which it mostly waited."""


class Figure(NamedTuple):
    """One measured figure, by the names of `published.questions.METRICS`."""

    metric: str
    value: float
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Given:
    """What flags say; None where they say nothing."""

    model: str | None = None
    gpu: str | None = None
    gpu_count: int | None = None
    tp: int | None = None
    pp: int | None = None
    weights: str | None = None
    kv: str | None = None
    engine: str | None = None
    engine_version: str | None = None
    prompt: int | None = None
    output: int | None = None
    batch: int | None = None


@dataclass(frozen=True)
class Run:
    """One run as its file tells it; "" and None where that says nothing.

    `total` is the mean of prompt and output together, where a file tells no more; `inferred` where mode and batch are
    our reading of it, which --batch replaces; `needs` names what a prediction must know besides.
    """

    tool: str
    where: str
    figures: tuple[Figure, ...]
    mode: str
    engine: str = ""
    engine_version: str = ""
    model: str = ""
    gpu: str = ""
    gpu_count: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    weights: str = ""
    kv: str = ""
    prompt: float | None = None
    output: float | None = None
    total: float | None = None
    batch: int | None = None
    inferred: bool = False
    needs: tuple[str, ...] = ("prompt", "output", "batch")
    notes: tuple[str, ...] = ()
    quality: str = "ok"


LIKE = {
    "model": "--model llama3-8b",
    "gpu": "--gpu h100",
    "gpu_count": "--gpu-count 1",
    "engine": "--engine vllm",
    "prompt": "--prompt 1024",
    "output": "--output 256",
    "batch": "--batch 32",
}
WORDS = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32", "f16": "fp16",
         "fp8_e4m3": "fp8", "auto": "", "none": ""}  # fmt: skip
"""How engines spell formats → how they are spelled here."""


def rows_of(run: Run, given: Given, source: str) -> list[Row]:
    """The rows of one run, one a figure; RequestError where file and flags contradict, or say too little."""
    told = _agreed(run, given)
    _complete(told)
    rows = [_row(told, figure, source) for figure in told.figures]
    if given.weights or given.kv:
        _formats(told, rows[0])
    return rows


def _agreed(run: Run, given: Given) -> Run:
    """The run with what flags add."""
    said: dict[str, Any] = {
        "model": _named("--model", given.model, run.model, run.where, model_of),
        "gpu": _named("--gpu", given.gpu, run.gpu, run.where, gpu_of),
        "weights": _word("--weights", given.weights, run.weights, run.where),
        "kv": _word("--kv", given.kv, run.kv, run.where),
    }
    said |= _engine(run, given)
    for name in ("gpu_count", "tp", "pp"):
        said[name] = _same(name, getattr(given, name), getattr(run, name), run.where)
    for name in ("prompt", "output"):
        said[name] = _length(name, getattr(given, name), getattr(run, name), run.where)
    said |= _shared(run, said["prompt"], said["output"])
    if run.inferred and given.batch is not None:
        said |= {"batch": given.batch, "mode": "concurrency"}
    else:
        said["batch"] = _same("batch", given.batch, run.batch, run.where)
    if said["gpu_count"] is None and (said["tp"] or said["pp"]):
        said["gpu_count"] = (said["tp"] or 1) * (said["pp"] or 1) * (run.dp or 1)
    return replace(run, **said)


def _named(flag: str, given: str | None, said: str, where: str, find: Any) -> str:
    """The catalog's name of what a flag or else the file names; the file's word alone may be one that nobody knows."""
    of_file = _found(find, said)
    if given is None:
        if said and not of_file:
            thing = flag.removeprefix("--")
            raise RequestError(
                f'{where}: the {thing} "{one_line(said)[:60]}" is none of the catalog; name the one it is, like '
                f"{LIKE[thing]}."
            )
        return of_file
    of_flag = _found(find, given)
    if not of_flag:
        listed = {"--model": "models", "--gpu": "gpus"}[flag]
        raise RequestError(
            f'{flag}: nothing is called "{one_line(given)[:60]}"; "perfmodel list {listed}" shows all names.'
        )
    if of_file and of_file != of_flag:
        raise RequestError(f"{flag}: says {of_flag}, but {where} is of {of_file}; leave the flag out.")
    return of_flag


def _found(find: Any, name: str) -> str:
    try:
        return str(find(name).name) if name else ""
    except Unscored:
        return ""


def _word(flag: str, given: str | None, said: str, where: str) -> str:
    ours, theirs = (WORDS.get(word.lower(), word.lower()) for word in (given or "", said))
    if ours and theirs and ours != theirs:
        raise RequestError(f"{flag}: says {ours[:40]}, but {where} says {theirs[:40]}; leave the flag out.")
    return ours or theirs


def _engine(run: Run, given: Given) -> dict[str, str]:
    name, _, version = (given.engine or "").partition("@")
    version = given.engine_version or version
    if name:
        ours = _serves(name)
        if ours == UNKNOWN:
            raise RequestError(
                f'--engine: no engine is called "{name[:40]}"; "perfmodel list engines" shows all names.'
            )
        if run.engine and _serves(run.engine) != ours:
            raise RequestError(f"--engine: says {ours}, but {run.where} is of {_serves(run.engine)}; leave it out.")
    if version and run.engine_version and version != run.engine_version:
        raise RequestError(
            f"--engine-version: says {version[:40]}, but {run.where} says {run.engine_version[:40]}; leave it out."
        )
    return {"engine": run.engine or name, "engine_version": run.engine_version or version}


def _serves(name: str) -> str:
    by = served(replace(_EMPTY, engine=name))
    return UNKNOWN if by.flavour == UNKNOWN else by.name


def _same(name: str, given: int | None, said: int | None, where: str) -> int | None:
    if given is not None and said is not None and given != said:
        raise RequestError(f"--{name.replace('_', '-')}: says {given}, but {where} says {said}; leave the flag out.")
    return said if given is None else given


def _length(name: str, given: int | None, said: float | None, where: str) -> float | None:
    if given is not None and said is not None and abs(given / said - 1) > ALIKE:
        raise RequestError(f"--{name}: says {given}, but the mean of {where} is {said:.0f} tokens; leave the flag out.")
    return said if given is None else given


def _shared(run: Run, prompt: float | None, output: float | None) -> dict[str, float]:
    """The length that is the rest of the total; RequestError where both do not add up to it."""
    if run.total is None or (prompt is None and output is None):
        return {}
    rest = run.total - (prompt or 0) - (output or 0)
    if rest < -ALIKE * run.total or (prompt is not None and output is not None and rest > ALIKE * run.total):
        raise RequestError(
            f"--prompt and --output: do not add up to {run.total:.5g} tokens a request, as {run.where} says."
        )
    return {} if prompt is not None and output is not None else {"output" if output is None else "prompt": max(rest, 0)}


def _complete(run: Run) -> None:
    """RequestError for the first thing that nobody said."""
    if not run.figures:
        raise RequestError(
            f"{run.where}: holds no figure of {run.tool} that is known; give a run that came to its end."
        )
    _known(run)


def _known(run: Run) -> None:
    for name in ("model", "gpu", "engine", "gpu_count", *run.needs):
        if getattr(run, name) in ("", None):
            raise RequestError(f"{run.where}: does not say {_WHAT[name]}; add it, like {LIKE[name]}.")


_WHAT = {
    "model": "which model ran",
    "gpu": "on which GPU it ran",
    "gpu_count": "on how many GPUs it ran",
    "engine": "which engine served",
    "prompt": "how long the prompts were",
    "output": "how long the outputs were",
    "batch": "how many sequences ran at once",
}


def _row(run: Run, figure: Figure, source: str) -> Row:
    whole = (None if n is None else max(round(n), 0) for n in (run.prompt, run.output))
    prompt, output = whole
    return replace(
        _EMPTY,
        source_id=run.tool,
        engine=run.engine,
        engine_version=run.engine_version,
        model=run.model,
        gpu=run.gpu,
        n_gpus=run.gpu_count,
        tp=run.tp,
        pp=run.pp,
        dp=run.dp if (run.dp or 1) > 1 else None,
        ep=run.ep if (run.ep or 1) > 1 else None,
        weight_dtype=run.weights,
        kv_dtype=run.kv,
        prompt_tokens=prompt,
        output_tokens=output,
        batch_or_concurrency=run.batch,
        mode=run.mode,
        metric=figure.metric,
        value=figure.value,
        unit=figure.unit,
        note="; ".join(note for note in (*run.notes, figure.note) if note),
        quality="queueing" if run.quality == "ok" and _waited(run, figure) else run.quality,
        source=source,
    )


def _waited(run: Run, figure: Figure) -> bool:
    """Whether a first token is late because its request waited: that tells of the queue, not of the engine."""
    seconds = {f.metric.rpartition("_")[0]: f.value * {"s": 1.0, "ms": 1e-3}.get(f.unit, 1.0) for f in run.figures}
    first, whole = seconds.get("ttft"), seconds.get("e2e_latency")
    gap = seconds.get("tpot") or seconds.get("itl")
    if whole is None and first and gap and run.output:
        whole = first + gap * (run.output - 1)
    late = bool(first and whole and run.mode in ("concurrency", "offline_throughput") and first > WAITING * whole)
    return late and figure.metric.startswith("ttft") and (run.output or 0) > 1


def deployed(run: Run, given: Given) -> Deployment:
    """The deployment of a run without figures; RequestError where it cannot be."""
    told = _agreed(run, given)
    _known(told)
    row = _row(told, Figure("ttft_s", 1.0), "")
    if given.weights or given.kv:
        _formats(told, row)
    try:
        return Plans().of(row)
    except Unscored as reason:
        raise RequestError(f"{run.where}: {reason}; say what ran by --model, --gpu, --tp, --pp, --weights.") from None


def _formats(run: Run, row: Row) -> None:
    """RequestError for a format that nobody knows or the device cannot work in."""
    try:
        precision_of(row, model_of(run.model), gpu_of(run.gpu))
    except Unscored as reason:
        raise RequestError(f'--weights or --kv: {reason}; give formats like "bf16", "fp8" or "int4".') from None


_TEXTS = ("source_id", "engine", "engine_version", "model", "gpu", "weight_dtype", "act_dtype", "kv_dtype", "mode",
          "metric", "unit", "note")  # fmt: skip
_COUNTS = ("n_gpus", "tp", "pp", "prompt_tokens", "output_tokens", "batch_or_concurrency")
_BLANK: dict[str, Any] = dict.fromkeys(_TEXTS, "") | dict.fromkeys(_COUNTS)
_EMPTY = Row(line=0, value=1.0, quality="ok", **_BLANK)
