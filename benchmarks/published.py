"""Errors on published measurements: perfmodel, the naive roofline and aiconfigurator, side by side on the same rows.

    python benchmarks/published.py FILE.csv [--mode fixed_batch,single_stream] [--by metric]

FILE has the schema of `perfmodel validate published`. perfmodel's expected time stands beside its bound (the longer of
FLOPs/peak and bytes/bandwidth of each op, summed) and, after `pip install aiconfigurator`, beside that package's
`cli_estimate(mode="static")`: on all rows that each tool answers, and on those that all of them answer. It takes half a
second for each new configuration; progress goes to stderr.

aiconfigurator is asked kindly: the engine's newest release (it has no tables of older ones), FP8 with static scales, as
it reads NVIDIA's FP8 checkpoints, and each dense model as a Llama of its sizes. It has not seen the rows; perfmodel's
engine constants were fitted to such rows, and its errors here are of the fit wherever FILE took part in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from perfmodel.errors import PerfModelError
from perfmodel.latency import Time
from perfmodel.layers.attention import GroupedQueryAttention
from perfmodel.layers.feedforward import GatedFeedForward
from perfmodel.model import Model
from perfmodel.published.loaded import Loaded
from perfmodel.published.names import Unscored, gpu_of, served
from perfmodel.published.predictions import FIGURES, LOADED, Prediction, Static, predictions
from perfmodel.published.questions import Plans, Question, question
from perfmodel.published.rows import COLUMNS, Row, chosen, rows_of
from perfmodel.published.scores import score, unscored
from perfmodel.table import Table, flush_right, percent
from perfmodel.workload import Workload

BACKENDS = ("trtllm", "vllm", "sglang")
ERRORS = ("median", "mean", "p90")
SERVERS = (*BACKENDS, "lmdeploy", "tgi")
DATA_CENTRE = re.compile(r"(a\d{1,3}g?|h\d+|g?b\d+|gh\d+|l\d+s?|t4|[pv]\d+s?)(-|$)|rtx-pro-6000-server")

# our names → aiconfigurator's
SYSTEMS = {
    "a100": "a100_sxm", "h100": "h100_sxm", "h200": "h200_sxm", "b200": "b200_sxm", "b300": "b300_sxm", "l40s": "l40s",
    "gb200": "gb200", "gb300": "gb300", "rtx-pro-6000-server": "rtx_pro_6000_server", "arc-b60": "b60",
}  # fmt: skip
FORMATS = {
    "bf16": "bfloat16", "fp16": "bfloat16", "fp8": "fp8_static", "fp8-block": "fp8_block", "nvfp4": "nvfp4",
    "int4": "int4_wo", "int4-g32": "int4_wo", "gptq": "int4_wo",
}  # fmt: skip


def workload(q: Question) -> Workload:
    at_once = float(Loaded(q.plan, (q,)).at_hand[0]) if q.mode in LOADED else float(q.batch or 1)
    return Workload(float(q.prompt), float(q.output), at_once)


def figure(q: Question, work: Workload, seconds: Iterable[Any]) -> float:
    """The figure asked for, in the row's unit, from seconds of TTFT, TPOT and the whole."""
    ttft, tpot, e2e = (Time(s, s, compute=s, bandwidth=0.0, link=0.0, overhead=0.0) for s in seconds)
    times = SimpleNamespace(ttft=ttft, tpot=tpot, e2e=e2e, cycle=e2e)
    return float(FIGURES[q.figure](q.plan, work, times)[0]) * q.scale


def asked(rows: list[Row], tool: Callable[[Question], float]) -> list[Prediction]:
    plans, found = Plans(), []
    for row in rows:
        try:
            found.append(Prediction(row, tool(question(row, plans))))
        except (Unscored, PerfModelError) as reason:
            found.append(Prediction(row, reason=str(reason)))
    return found


def roofline(q: Question) -> float:
    if q.figure == "peak_memory":
        raise Unscored("memory is no time")
    work = workload(q)
    times: Any = Loaded(q.plan, (q,)) if q.mode in LOADED else Static(q.plan, work)
    return figure(q, work, (float(np.max(t.bound)) for t in (times.ttft, times.tpot, times.cycle)))


class Aiconfigurator:
    """Static batches by the PyPI package; `folder` is for the configs of models."""

    def __init__(self, folder: str) -> None:
        self._estimate: Callable[..., Any] = importlib.import_module("aiconfigurator.cli.api").cli_estimate
        logging.disable(logging.CRITICAL)  # it warns of tables that such a question does not use
        self._folder, self._asked = Path(folder), 0
        self._answer = cache(self._uncached)

    def __call__(self, q: Question) -> float:
        plan, engine, work = q.plan, served(q.row).name, workload(q)
        gpu, weights, kv = plan.gpu.name, plan.precision.weights.name, plan.precision.kv.name
        if engine not in BACKENDS or gpu not in SYSTEMS:
            raise Unscored(f"no tables of {gpu if engine in BACKENDS else engine}")
        if q.mode in LOADED or weights not in FORMATS:
            raise Unscored("requests come and go" if q.mode in LOADED else f"no format {weights}")
        told = {"system_name": SYSTEMS[gpu], "backend_name": engine, "tp_size": plan.tp, "pp_size": plan.pp}
        told |= {"isl": q.prompt, "osl": q.output, "batch_size": int(work.batch)}
        told |= {"gemm_quant_mode": FORMATS[weights], "kvcache_quant_mode": "fp8" if kv == "fp8" else "bfloat16"}
        answer = self._answer(self._config(plan.model), **told)
        if isinstance(answer, str):
            raise Unscored(answer)
        if q.figure == "peak_memory":
            return float(answer["memory"]) * 2**30 * q.scale
        return figure(q, work, (answer[name] / 1e3 for name in ("ttft", "tpot", "request_latency")))

    def _uncached(self, path: str, **told: Any) -> dict[str, Any] | str:
        self._asked += 1
        if self._asked % 25 == 0:
            print(f"aiconfigurator: {self._asked} configurations", file=sys.stderr)
        try:
            return dict(self._estimate(path, mode="static", **told).raw)
        except Exception as error:  # it raises many kinds, and what it refuses is a result
            return f"{type(error).__name__}: {str(error)[:70]}"

    def _config(self, model: Model) -> str:
        config, folder = llama_config(model), self._folder / model.name
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        return str(folder)


def llama_config(model: Model) -> dict[str, Any]:
    """The config.json of a Llama of a dense model's sizes; Unscored where its layers are of another make."""
    mixer, ffn = model.blocks[0].mixer, model.blocks[0].feed_forward
    alike = len(model.blocks) == 1
    if not (alike and isinstance(mixer, GroupedQueryAttention) and isinstance(ffn, GatedFeedForward)) or mixer.window:
        raise Unscored(f"{model.name} is no dense Llama")
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
        "hidden_size": model.hidden_size, "intermediate_size": ffn.size, "num_hidden_layers": model.layers,
        "num_attention_heads": mixer.heads, "num_key_value_heads": mixer.kv_heads, "head_dim": mixer.head_size,
        "vocab_size": model.vocabulary, "tie_word_embeddings": model.tied_embeddings,
        "max_position_embeddings": model.max_context,
    }  # fmt: skip


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
        yield value, [i for i, row in enumerate(rows) if str(getattr(row, by)) == value]


def table(tools: dict[str, list[Prediction]], rows: list[Row], by: str, common: bool) -> Table:
    lines = []
    for name, members in groups(rows, by):
        if common:
            members = [i for i in members if not any(found[i].reason for found in tools.values())]
        scores = [(name, tool, score([found[i] for i in members])) for tool, found in tools.items()]
        lines += scores if any(s.scored for *_, s in scores) else []
    scored = [s for *_, s in lines]
    words = {"rows of": [name for name, *_ in lines], "tool": [tool for _, tool, _ in lines]}
    counts = {"rows": [s.n for s in scored], "answered": [s.scored for s in scored]}
    errors = {name: flush_right([percent(getattr(s, f"{name}_ape")) for s in scored]) for name in ERRORS}
    bias = {"bias": flush_right([percent(s.bias, "+") for s in scored])}
    title = "The rows that all of them answer" if common else "All rows that each tool answers"
    return Table(words | counts | errors | bias, title)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--mode", default="fixed_batch,single_stream")
    parser.add_argument("--by", default="metric", choices=COLUMNS, metavar="COLUMN")
    options = parser.parse_args()
    rows = chosen(rows_of(options.file), options.mode, "ok", options.file).rows
    tools = {"perfmodel": predictions(rows), "roofline": asked(rows, roofline)}
    print(f"perfmodel and roofline: {len(rows)} rows", file=sys.stderr)
    if importlib.util.find_spec("aiconfigurator"):
        with tempfile.TemporaryDirectory() as folder:
            tools["aiconfigurator"] = asked(rows, Aiconfigurator(folder))
    else:
        print("aiconfigurator is not installed here: pip install aiconfigurator to compare with it\n")
    for common in (False, True):
        print(table(tools, rows, options.by, common).to_text(), end="\n\n")
    for tool, found in tools.items():
        print(f"{tool} does not answer:", *(f"{n:6}  {reason}" for reason, n in unscored(found)), sep="\n", end="\n\n")


if __name__ == "__main__":
    main()
