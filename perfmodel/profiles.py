"""Engine profiles: what an engine does by default, fuses and overlaps, and what it costs beside its kernels."""

from __future__ import annotations

import re
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from perfmodel.calibrated import Kernel
from perfmodel.catalog import RUNS, load_architecture
from perfmodel.engine import ENGINES, Engine, engine, generations
from perfmodel.kernels.overheads import Overheads

DEFAULTS = (
    "memory_share",
    "block",
    "token_budget",
    "sequences_limit",
    "policy",
    "reserves",
    "exchange",
    "framework_bytes",
    "comm_bytes",
    "graph_bytes",
    "attention",
    "half_sums",
)
"""Fields of an `Engine` that are its defaults."""


class Habits(NamedTuple):
    """What an engine does beside running kernels, in words. Nothing is computed of them: their effect is in the
    overheads that its runs told.

    fuses     what it launches as one, and how launches reach the device
    overlaps  what the host does while the device works
    source    who says so; "recalled" where that is memory alone
    """

    fuses: str
    overlaps: str
    source: str


UNKNOWN = "not known here"
_GGML = "micro-batches in flight between devices that share the layers (--split-mode layer)"
HABITS = {
    "vllm 0.8+": Habits(
        "torch.compile; piecewise, since 0.11 also full CUDA graphs; Q, K, V and gate, up as one product each",
        "API server and tokenizer in a process of their own; since 0.14 the next step is scheduled while one runs",
        "vLLM docs, torch.compile integration; release notes of 0.11.0 and 0.14.0",
    ),
    "vllm 0.3+": Habits(
        "CUDA graphs of decode; Q, K, V and gate, up as one product each",
        "API server in a process of its own since 0.6; scheduling and sampling wait for each other",
        "vLLM blog, 2024-09-05 (0.6.0)",
    ),
    "vllm 0.1+": Habits("Q, K, V and gate, up as one product each; every launch by itself", UNKNOWN, "recalled"),
    "vllm rocm": Habits("as vLLM V1, by HIP graphs", "as vLLM V1", "recalled"),
    "trtllm 1.1+": Habits(
        "CUDA graphs of decode, torch.compile where asked; Q, K, V and gate, up as one product each",
        "the overlap scheduler prepares the next step while one runs",
        "recalled",
    ),
    "trtllm nim": Habits("as TensorRT-LLM of 2024", "HTTP server beside the engine", "recalled"),
    "sglang any": Habits(
        "CUDA graphs of decode; Q, K, V and gate, up as one product each",
        "the scheduler runs one batch ahead of the device",
        "LMSYS blog, 2024-12-04 (SGLang 0.4)",
    ),
    "trtllm 1+": Habits(
        "CUDA graphs; fused kernels of its own, all-reduce with norm and residual",
        "stop criteria and scheduling of one step while the next one runs",
        "TensorRT-LLM docs, Overlap Scheduler (on by default)",
    ),
    "trtllm 0+": Habits(
        "a TensorRT engine built ahead, with plugins for attention and products", "static batches", "recalled"
    ),
    "lmdeploy any": Habits("C++ kernels of its own (TurboMind)", UNKNOWN, "recalled"),
    "tgi any": Habits("CUDA graphs of decode; Q, K, V and gate, up as one product each", "a router in Rust", "docs"),
    "llama.cpp 2024.7+": Habits("CUDA graphs; quantized products without widening (MMQ)", _GGML, "llama.cpp README"),
    "llama.cpp 0+": Habits("quantized products for few rows; else widened first", _GGML, "recalled"),
    "llama.cpp metal": Habits("flash attention only where asked for", UNKNOWN, "recalled"),
    "mlx any": Habits("a lazy graph, compiled in parts", UNKNOWN, "recalled"),
    "gpt-fast any": Habits("torch.compile, CUDA graphs of the whole step", UNKNOWN, "PyTorch blog, 2023-11-30"),
    "torch any": Habits("flash attention alone; each op a launch", "launches run ahead of the device", "recalled"),
    "exllama any": Habits("4-bit products with their widening", UNKNOWN, "recalled"),
    "tinychat any": Habits("4-bit products with their widening, attention in one kernel", UNKNOWN, "recalled"),
    "mlc any": Habits("kernels compiled by TVM for the model", UNKNOWN, "recalled"),
}  # fmt: skip


def meanings() -> dict[str, str]:
    """What each overhead means, as the docstring of `Overheads` has it."""
    told = dict(re.findall(r"^ {4}(\w+) +(.+)$", Overheads.__doc__ or "", re.M))
    return {field.name: told.get(field.name, "") for field in fields(Overheads)}


def fitted(row: Engine) -> Kernel | None:
    """The overheads that runs of an engine's generation told, on all devices together; None where there were none."""
    shared = load_architecture(RUNS)
    blocks = shared.calibration if shared else {}
    return blocks[row.runs].kernels.get("overheads", {}).get("any") if row.runs in blocks else None


def profile(row: Engine) -> dict[str, Any]:
    """One generation of an engine as plain data."""
    runs, habits = fitted(row), HABITS[row.runs]
    overheads = asdict(row.overheads) if runs is None else asdict(Overheads(**runs.constants))  # type: ignore[arg-type]
    return {
        "generation": row.generation,
        "title": row.title,
        "defaults": {name: getattr(row, name) for name in DEFAULTS},
        "source": row.source,
        "fuses": habits.fuses,
        "overlaps": habits.overlaps,
        "habits_source": habits.source,
        "kernels": row.kernels,
        "collectives": row.talks or row.kernels,
        "overheads": overheads,
        "fit": None if runs is None else runs.fit.model_dump(mode="json"),
    }


def engine_dict(name: str, version: str = "") -> dict[str, Any]:
    """An engine as plain data: every generation of it, or the one of `version`."""
    rows = (engine(name, version),) if version else generations(name)
    return {"name": name, "generations": [profile(row) for row in rows]}


def engine_rows() -> list[dict[str, Any]]:
    """Every generation of every engine, with its main figures."""
    return [_main(row) for name in ENGINES for row in generations(name)]


def _main(row: Engine) -> dict[str, Any]:
    told = profile(row)
    fit = told["fit"]
    return {
        "name": row.name,
        "generation": row.generation,
        "title": row.title,
        "memory_share": row.memory_share,
        "block": row.block,
        "token_budget": row.token_budget,
        "layer_s": told["overheads"]["layer_s"],
        "pass_s": told["overheads"]["pass_s"],
        "runs": 0 if fit is None else fit["points"],
        "median_ape": None if fit is None else fit["median"],
        "p90_ape": None if fit is None else fit["p90"],
    }


def known_engine(name: str) -> tuple[str, str] | None:
    """(name, version) where `name` is an engine's, as in "vllm@0.7.3"; None where it is not."""
    plain, _, version = name.lower().partition("@")
    return (plain, version) if plain in ENGINES else None
