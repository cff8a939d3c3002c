"""Errors on published measurements: perfmodel, the naive roofline and aiconfigurator, side by side on the same rows.

    python benchmarks/published.py FILE.csv [--mode fixed_batch,single_stream] [--by metric]

FILE has the schema of docs/accuracy.md. perfmodel's expected time stands beside its bound (FLOPs/peak or bytes/bandwidth
of each op, whichever is longer, summed) and, where `pip install aiconfigurator` has been run, beside
`aiconfigurator.cli.api.cli_estimate(mode="static")`. Two tables: on all rows that each tool answers, and on those that
all of them answer. Half a second for each configuration new to aiconfigurator; progress goes to stderr.

aiconfigurator is asked as kindly as we can: the newest release of the engine that it has tables for (it has no older
ones), FP8 with static scales, as it reads NVIDIA's FP8 checkpoints, and models that it does not know by name (Llama 2,
Mistral) as a Llama of their sizes. What it refuses is counted by reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from perfmodel.errors import PerfModelError
from perfmodel.latency import Time
from perfmodel.model import Model
from perfmodel.published.loaded import ClosedLoop
from perfmodel.published.names import Unscored, gpu_of, served
from perfmodel.published.predictions import FIGURES, LOADED, Prediction, Static, batches, predictions
from perfmodel.published.questions import Plans, Question, question
from perfmodel.published.rows import Row, chosen, columns, rows_of
from perfmodel.published.scores import score, unscored
from perfmodel.table import Table, flush_right, percent
from perfmodel.workload import Workload

SERVERS = ("vllm", "sglang", "trtllm", "lmdeploy", "tgi")
DATA_CENTRE = re.compile(r"(a\d{1,3}g?|h\d+|g?b\d+|gh\d+|l\d+s?|t4|[pv]\d+s?)(-|$)|rtx-pro-6000-server")

# our names → aiconfigurator's
SYSTEMS = {
    "a100": "a100_sxm", "h100": "h100_sxm", "h200": "h200_sxm", "b200": "b200_sxm", "b300": "b300_sxm", "l40s": "l40s",
    "gb200": "gb200", "gb300": "gb300", "rtx-pro-6000-server": "rtx_pro_6000_server", "arc-b60": "b60",
}  # fmt: skip
BACKENDS = ("trtllm", "vllm", "sglang")
FORMATS = {
    "bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8_static", "fp8-block": "fp8_block", "int8": "int8_wo",
    "int4": "int4_wo", "int4-g32": "int4_wo", "gptq": "int4_wo", "nvfp4": "nvfp4",
}  # fmt: skip


class Times(NamedTuple):
    ttft: Time
    tpot: Time
    e2e: Time


def exactly(seconds: Any) -> Time:
    return Time(bound=seconds, expected=seconds, compute=seconds, bandwidth=0.0, link=0.0, overhead=0.0)


def workload(q: Question) -> Workload:
    return Workload(float(q.prompt), float(q.output), float(q.batch or batches(q.plan, [q])[0]))


def figure(q: Question, work: Workload, times: Times) -> float:
    return float(FIGURES[q.figure](q.plan, work, times)[0]) * q.scale


# ── the tools ────────────────────────────────────────────────────────────────────────────────────


def roofline(q: Question) -> float:
    if q.figure == "peak_memory":
        raise Unscored("memory is no time")
    work = workload(q)
    times = ClosedLoop(q.plan, work) if q.mode in LOADED else Static(q.plan, work)
    return figure(q, work, Times(*(exactly(time.bound) for time in (times.ttft, times.tpot, times.e2e))))


class Aiconfigurator:
    """Static batches by the PyPI package; `folder` is for the configs of models."""

    def __init__(self, folder: str) -> None:
        self._estimate: Callable[..., Any] = importlib.import_module("aiconfigurator.cli.api").cli_estimate
        logging.disable(logging.CRITICAL)  # it warns of tables that such a question does not use
        self._folder, self._asked = Path(folder), 0
        self._answer = cache(self._uncached)

    def __call__(self, q: Question) -> float:
        plan, engine, work = q.plan, served(q.row).name, workload(q)
        if q.mode in LOADED:
            raise Unscored("requests come and go")
        if engine not in BACKENDS or plan.gpu.name not in SYSTEMS:
            raise Unscored(f"no tables of {plan.gpu.name if engine in BACKENDS else engine}")
        if plan.precision.weights.name not in FORMATS:
            raise Unscored(f"no format {plan.precision.weights.name}")
        told = {"system_name": SYSTEMS[plan.gpu.name], "backend_name": engine, "tp_size": plan.tp, "pp_size": plan.pp}
        told |= {"isl": q.prompt, "osl": q.output, "batch_size": int(work.batch)}
        told |= {"gemm_quant_mode": FORMATS[plan.precision.weights.name]}
        told |= {"kvcache_quant_mode": "fp8" if plan.precision.kv.name == "fp8" else "bfloat16"}
        answer = self._answer(self._config(plan.model), **told)
        if isinstance(answer, str):
            raise Unscored(answer)
        if q.figure == "peak_memory":
            return float(answer["memory"]) * 2**30 * q.scale
        seconds = (answer[name] / 1e3 for name in ("ttft", "tpot", "request_latency"))
        return figure(q, work, Times(*map(exactly, seconds)))

    def _uncached(self, path: str, **told: Any) -> dict[str, Any] | str:
        self._asked += 1
        if self._asked % 25 == 0:
            print(f"aiconfigurator: {self._asked} configurations", file=sys.stderr)
        try:
            raw: dict[str, Any] = self._estimate(path, mode="static", **told).raw
        except Exception as error:  # it raises many kinds, and what it refuses is a result
            return f"{type(error).__name__}: {str(error)[:70]}"
        return raw

    def _config(self, model: Model) -> str:
        folder = self._folder / model.name
        if not folder.exists():
            config = llama_config(model)
            folder.mkdir()
            (folder / "config.json").write_text(json.dumps(config))
        return str(folder)


def llama_config(model: Model) -> dict[str, Any]:
    """The config.json of a Llama of a dense model's sizes; Unscored where its layers are of another make."""
    block = model.blocks[0]
    mixer: Any = block.mixer
    ffn: Any = block.feed_forward
    if len(model.blocks) > 1 or mixer.kind != "attention" or ffn.kind != "gated" or mixer.window:
        raise Unscored(f"{model.name} is no dense Llama")
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.layers,
        "num_attention_heads": mixer.heads,
        "num_key_value_heads": mixer.kv_heads,
        "head_dim": mixer.head_size,
        "intermediate_size": ffn.size,
        "vocab_size": model.vocabulary,
        "max_position_embeddings": model.max_context,
        "tie_word_embeddings": model.tied_embeddings,
        "torch_dtype": "bfloat16",
    }


def asked(rows: list[Row], tool: Callable[[Question], float]) -> list[Prediction]:
    plans, found = Plans(), []
    for row in rows:
        try:
            found.append(Prediction(row, tool(question(row, plans))))
        except (Unscored, PerfModelError) as reason:
            found.append(Prediction(row, reason=str(reason)))
    return found


# ── the tables ───────────────────────────────────────────────────────────────────────────────────


@cache
def in_data_centre(row: Row) -> bool:
    try:
        gpu = gpu_of(row.gpu)
    except Unscored:
        return False
    return gpu.vendor == "NVIDIA" and bool(DATA_CENTRE.match(gpu.name)) and served(row).name in SERVERS


def groups(rows: list[Row], by: str) -> Iterator[tuple[str, list[int]]]:
    yield "all", list(range(len(rows)))
    yield "NVIDIA data centre, serving engine", [i for i, row in enumerate(rows) if in_data_centre(row)]
    for value in sorted({str(getattr(row, by)) for row in rows}):
        yield value or "not stated", [i for i, row in enumerate(rows) if str(getattr(row, by)) == value]


def table(tools: dict[str, list[Prediction]], rows: list[Row], by: str, common: bool) -> Table:
    lines = []
    for name, members in groups(rows, by):
        if common:
            members = [i for i in members if not any(found[i].reason for found in tools.values())]
        scores = {tool: score([found[i] for i in members]) for tool, found in tools.items()}
        if any(s.scored for s in scores.values()):
            lines += [(name, tool, s) for tool, s in scores.items()]
    counts = {"rows": [s.n for *_, s in lines], "answered": [s.scored for *_, s in lines]}
    wanted = {"median": "median_ape", "mean": "mean_ape", "p90": "p90_ape", "bias": "bias"}
    figures = {
        name: flush_right([percent(getattr(s, field), "+" if name == "bias" else "") for *_, s in lines])
        for name, field in wanted.items()
    }
    title = "The rows that all of them answer" if common else "All rows that each tool answers"
    return Table({"rows of": [g for g, *_ in lines], "tool": [t for _, t, _ in lines]} | counts | figures, title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="CSV of published measurements")
    parser.add_argument("--mode", default="fixed_batch,single_stream", help="modes, a comma list; or all")
    parser.add_argument("--by", default="metric", help="the column that groups rows")
    options = parser.parse_args()
    (by,) = columns(options.by)
    rows = chosen(rows_of(options.file), options.mode, "ok", options.file).rows
    start = time.perf_counter()
    tools = {"perfmodel": predictions(rows), "roofline": asked(rows, roofline)}
    print(f"perfmodel and roofline: {time.perf_counter() - start:.0f} s", file=sys.stderr)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tools["aiconfigurator"] = asked(rows, Aiconfigurator(folder))
        except ImportError:
            print("aiconfigurator is not installed here: pip install aiconfigurator to compare with it\n")
    for common in (False, True):
        print(table(tools, rows, by, common).to_text(), end="\n\n")
    for tool, found in tools.items():
        print(f"{tool} does not answer:")
        print("".join(f"{n:6}  {reason}\n" for reason, n in unscored(found)) or "  nothing\n")


if __name__ == "__main__":
    main()
