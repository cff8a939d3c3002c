"""A row → what is asked of perfmodel: a deployment, a workload, a figure; or the reason why not."""

from __future__ import annotations

import re
from typing import NamedTuple

from perfmodel.deployment import Deployment, split_error
from perfmodel.memory import memory
from perfmodel.published.guessed import speculation_of
from perfmodel.published.names import (
    Served,
    Unscored,
    engine_of,
    gpu_of,
    model_of,
    precision_of,
    served,
    speculates,
    splits_layers,
)
from perfmodel.published.rows import MODES, Row
from perfmodel.spec import nearest
from perfmodel.workload import PROMPT, Workload

SHORT_PROMPT = 5
"""Prompt tokens of a decode rate whose source names none: gpt-fast's default prompt, "Hello, my name is"."""
GENERATED = 200
"""Tokens generated where a source does not say: the default of gpt-fast and of TinyChat's benchmark."""

_TIMES = {"s": 1.0, "ms": 1e3, "us": 1e6}
_RATES = {"tok/s": 1.0, "tok/s/gpu": 1.0, "tok/s/user": 1.0, "tok/s/request": 1.0, "tokens/s": 1.0, "t/s": 1.0}
_SIZES = {"GB": 1e-9, "GiB": 2.0**-30, "MiB": 2.0**-20, "MB": 1e-6}
_BANDWIDTHS = {"GB/s": 1e-9, "TB/s": 1e-12, "GiB/s": 2.0**-30}
_REQUESTS = {"req/s": 1.0, "requests/s": 1.0}

# metric → (the figure of predictions.py, its unit where the column is blank, units it may have)
METRICS: dict[str, tuple[str, str, dict[str, float]]] = {
    "ttft_ms": ("ttft", "ms", _TIMES),
    "ttft_s": ("ttft", "s", _TIMES),
    "tpot_ms": ("tpot", "ms", _TIMES),
    "itl_ms": ("tpot", "ms", _TIMES),
    "e2e_latency_s": ("e2e", "s", _TIMES),
    "e2e_latency_ms": ("e2e", "ms", _TIMES),
    "output_tok_s_total": ("output_rate", "tok/s", _RATES),
    "output_tok_s_per_gpu": ("output_rate", "tok/s/gpu", _RATES),
    "output_tok_s_per_user": ("user_rate", "tok/s/user", _RATES),
    "total_tok_s": ("total_rate", "tok/s", _RATES),
    "total_tok_s_per_gpu": ("total_rate", "tok/s/gpu", _RATES),
    "decode_tok_s": ("decode_rate", "tok/s", _RATES),
    "prefill_tok_s": ("prefill_rate", "tok/s", _RATES),
    "req_s": ("request_rate", "req/s", _REQUESTS),
    "requests_s": ("request_rate", "req/s", _REQUESTS),
    "gpu_peak_mem_gb": ("peak_memory", "GB", _SIZES),
    "mem_bw_gb_s": ("weight_bandwidth", "GB/s", _BANDWIDTHS),
}
KERNEL_METRICS = ("tflops", "latency_us", "busbw_gb_s", "algbw_gb_s")
_USER_UNITS = ("tok/s/user", "tok/s/request")
_PER_REQUEST = re.compile(r"per[ -](request|user|sequence|stream)", re.IGNORECASE)
_EXPERT_PARALLEL = re.compile(r"\bD?EP ?\d+\b|expert parallel|attention data parallel", re.IGNORECASE)
_BOTH = re.compile(r"\bDEP ?(\d+)\b")
"""As TensorRT-LLM names attention data parallelism with as many parts of the experts, over all GPUs."""
_AT_ONCE = re.compile(r"(\d+) requests(?: sent)? at once|num_prompts ?= ?(\d+)", re.IGNORECASE)
_CHUNK = re.compile(r"chunk (\d{3,6})\b", re.IGNORECASE)


class Question(NamedTuple):
    """One figure asked: `figure` of `plan` under `mode` and sizes, times `scale` in the row's unit.

    `batch` is None where a saturated server takes what its memory holds, at most `most`.
    """

    row: Row
    plan: Deployment
    mode: str
    prompt: int
    output: int
    batch: int | None
    most: int | None
    figure: str
    scale: float


class Plans:
    """The deployments of rows, each made once."""

    def __init__(self) -> None:
        self._made: dict[tuple[object, ...], Deployment | Unscored] = {}

    def of(self, row: Row) -> Deployment:
        """The deployment of a row; Unscored where none can be made."""
        key = (
            row.model, row.gpu, row.n_gpus, row.tp, row.pp, row.dp, row.ep, _said(row), row.weight_dtype, row.act_dtype,
            row.kv_dtype, row.engine, row.engine_version, row.note if speculates(row) else "",
        )  # fmt: skip
        if key not in self._made:
            try:
                self._made[key] = _plan(row)
            except Unscored as reason:
                self._made[key] = reason
        found = self._made[key]
        if isinstance(found, Unscored):
            raise found
        return found


def question(row: Row, plans: Plans) -> Question:
    """What a row asks; Unscored, with the reason, where perfmodel has no answer."""
    if row.mode not in MODES:
        guess = nearest(row.mode, MODES)
        raise Unscored(f'no mode is called "{row.mode}"' + (f'; did you mean "{guess}"?' if guess else ""))
    if row.mode == "kernel" or row.metric in KERNEL_METRICS:
        raise Unscored('a kernel\'s figure; see "perfmodel validate kernels"')
    if row.metric not in METRICS:
        raise Unscored(f'the metric "{row.metric}" is not one that is predicted')
    figure, usual, units = METRICS[row.metric]
    unit = row.unit or usual
    if unit not in units:
        raise Unscored(f'{row.metric} in "{unit}"; known: {", ".join(units)}')
    plan = plans.of(row)
    scale, replicas = units[unit], _replicas(row, plan)
    if figure.endswith("_rate") and figure != "user_rate":
        scale *= replicas / (plan.gpu_count * replicas if unit.endswith("/gpu") else 1)
    if figure == "decode_rate" and (unit in _USER_UNITS or _PER_REQUEST.search(row.note)):
        figure, scale = "user_rate", units[unit]
    prompt, output = _lengths(row, figure)
    batch, most = _batch(row, figure)
    if batch is not None and replicas > 1:
        batch = max(1, round(batch / replicas))
    return Question(row, plan, row.mode, prompt, output, batch, most, figure, scale)


# ── the deployment ───────────────────────────────────────────────────────────────────────────────


def _plan(row: Row) -> Deployment:
    by = served(row)
    gpu, model = gpu_of(row.gpu), model_of(row.model)
    engine = engine_of(row, gpu)
    if model.bidirectional:
        raise Unscored("the workload of a model that writes by denoising is not in the file")
    precision = precision_of(row, model, gpu)
    guessed = speculation_of(row, model, gpu, precision)
    single = Deployment(model, gpu, precision, engine, attention=engine.attention, speculation=guessed)
    tp, pp, dp, ep = _split(row, by)
    if complaint := split_error(model, gpu, tp, pp, dp, ep):
        raise Unscored(complaint)
    plan = single.split(tp, pp, dp, ep)
    if row.n_gpus is None and memory(plan, Workload(1, 1, 1)).weights > gpu.memory:
        raise Unscored("the number of GPUs is not stated, and one does not hold the model")
    return plan


def _split(row: Row, by: Served) -> tuple[int, int, int, int]:
    """tp, pp, dp and ep. What is blank is the rest of the devices, by the way the engine spreads a model."""
    dp, ep = row.dp or 1, row.ep or 1
    if said := _said(row):
        whole = int(said[1:]) if said[1:] else row.n_gpus or 1
        return 1, 1, whole, whole
    count = row.n_gpus or (row.tp or 1) * (row.pp or 1) * dp
    if row.tp is None and row.pp is None:
        return (1, count, 1, 1) if splits_layers(by) else (max(count // dp, 1), 1, dp, ep)
    tp = row.tp or max(count // (row.pp or 1) // dp, 1)
    pp = row.pp or max(count // tp // dp, 1)
    if count % (tp * pp * dp):
        raise Unscored("n_gpus is no multiple of tp × pp" + (" × dp" if dp > 1 else ""))
    return tp, pp, dp, ep


def _said(row: Row) -> str:
    """What a note says of a split where the columns say nothing: "=4" of "DEP4"; Unscored where it is not enough."""
    if row.dp is not None or row.ep is not None or not _EXPERT_PARALLEL.search(row.note):
        return ""
    if both := _BOTH.search(row.note):
        return f"={both[1]}"
    raise Unscored("the note tells of expert parallelism, the columns dp and ep do not say which")


def _replicas(row: Row, plan: Deployment) -> int:
    """Copies of the deployment that n_gpus holds."""
    return max((row.n_gpus or 1) // plan.gpu_count, 1)


# ── the workload ─────────────────────────────────────────────────────────────────────────────────


def _lengths(row: Row, figure: str) -> tuple[int, int]:
    """Prompt and output tokens; a decode from an empty context starts from one token."""
    prompt, output = row.prompt_tokens, row.output_tokens
    decodes = figure in ("decode_rate", "user_rate", "weight_bandwidth", "tpot")
    if prompt is None:
        chunk = _CHUNK.search(row.note)
        prompt = SHORT_PROMPT if decodes else int(chunk[1]) if chunk else PROMPT
    if output is None:
        output = GENERATED if decodes else 1
    if figure in ("output_rate", "total_rate", "e2e", "request_rate") and row.output_tokens is None:
        raise Unscored("the output's length is not stated")
    return max(prompt, 1), max(output, 2 if decodes else 1)


def _batch(row: Row, figure: str) -> tuple[int | None, int | None]:
    """(sequences at once, None where memory decides; the most that it may decide)."""
    if row.batch_or_concurrency is not None:
        return row.batch_or_concurrency, None
    if row.mode == "single_stream" or figure == "prefill_rate":
        return 1, None
    if row.mode == "offline_throughput":
        sent = _AT_ONCE.search(row.note)
        return None, int(sent[1] or sent[2]) if sent else None
    raise Unscored("the batch is not stated")
