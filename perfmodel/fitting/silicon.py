"""The end-to-end runs of `aiconfigurator-core` (silicon_sample.csv) → rows as in files of published measurements.

5,221 runs of vLLM, SGLang and TensorRT-LLM on H100 to GB300, each a time to first token and a time per token at a
concurrency. Most are InferenceX (SemiAnalysis), whose recipes are public: 10·c requests, c at a time, all of the
first c at once, prompts and outputs uniform between 0.8 and 1 of the named lengths; the recipe tells the cache's
format. The rest are NVIDIA's own, of fixed lengths.

Nothing is dropped. A run that its own figures or its recipe contradict is "suspect", one whose requests mostly wait is
"queueing", with the reason in its note; a run that perfmodel has no model for yet gets a reason from `unasked`.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from math import isclose

from perfmodel.errors import RequestError
from perfmodel.fitting.tables import DEVICES, package_version, root
from perfmodel.published.rows import Row

FILE = "silicon_sample.csv"
DISAGGREGATED = "disaggregated"
MEAN_LENGTH = 0.9
"""Mean of lengths drawn between 0.8 and 1 of the named one (InferenceX: random-range-ratio 0.8)."""

# (model, format of the products) → the checkpoint that was served, where it differs from the model's
CHECKPOINTS = {
    ("Kimi-K2.5", "nvfp4"): ("kimi-k2.5-nvfp4", ""),
    ("MiniMax-M2.5", "nvfp4"): ("minimax-m2.5-nvfp4", ""),
    ("Qwen3.5-397B-A17B", "nvfp4"): ("qwen3.5-397b-a17b-nvfp4", ""),
    ("GLM-5", "fp8"): ("glm-5-fp8", ""),
    ("Qwen3-235B-A22B-FP8", "fp8"): ("qwen3-235b-a22b-fp8", ""),
    ("Qwen3-235B-A22B-FP8", "fp8_block"): ("qwen3-235b-a22b-fp8", ""),
    ("Llama-3.1-8B-Instruct-FP8", "fp8"): ("llama3.1-8b", "fp8"),
    ("Qwen3-32B-NVFP4", "nvfp4"): ("qwen3-32b", "nvfp4"),
    ("DeepSeek-R1-NVFP4", "nvfp4"): ("deepseek-r1", "nvfp4"),
    ("DeepSeek-V3.1-NVFP4", "nvfp4"): ("deepseek-v3.1", "nvfp4"),
    ("gpt-oss-120b", "nvfp4"): ("gpt-oss-120b", ""),
}
_AS_DECLARED = ("Kimi-K2.5", "gpt-oss-120b", "DeepSeek-R1", "DeepSeek-V3", "MiniMax-M2.5")
_SAME = (
    "backend", "system", "mode", "isl", "osl", "gemm_quant_mode", "decode_tp_size", "decode_num_workers",
)  # fmt: skip
"""A run that agrees with another in these, in split, load and figures, is the same in two sources, under two names of a
model."""
ENDS_APART = ("vllm", "trtllm")
"""Engines of NVIDIA's own runs whose requests, though of one length, do not stay together after their common start: a
time per token holds one prefill of every other request, and only a tenth of a time to first token grows as it does
when all start at once. SGLang's start and end together to the last."""
ROUNDED = 0.002
"""Two figures that are nearer than this, as a fraction, are one figure, rounded by one of its sources."""
SPREAD = 1.2
"""Runs of one build at one setting that differ by more than this factor contradict each other."""
_Seen = dict[tuple[str, ...], list[tuple[int, float, float]]]
_INFERENCEX = re.compile(r"db-dump|source_file=20\d\d-|gap-analysis\.csv")


def silicon_rows() -> list[Row]:
    """Two rows of each run, time to first token and time per token, in the order of the file."""
    path = root() / FILE
    try:
        with path.open(encoding="utf-8", newline="") as opened:
            runs = list(csv.DictReader(opened))
    except OSError:
        raise RequestError(f"{path}: is missing; this version of the package has no end-to-end runs") from None
    seen: _Seen = {}
    split = _contradicting(runs)
    return [row for line, run in enumerate(runs, 2) for row in _rows(line, run, seen, split)]


def unasked(row: Row) -> str:
    """Why a row tells an engine's constants nothing, which its other columns do not say; "" where it does."""
    return "pools of workers are predicted, not fitted" if row.mode == DISAGGREGATED else ""


def _rows(line: int, run: dict[str, str], seen: _Seen, split: set[tuple[str, ...]]) -> Iterator[Row]:
    drawn = bool(_INFERENCEX.search(run["silicon_data_source"]))
    notes, doubts, waits = _notes(run, drawn), _doubts(run), _waits(run)
    if (run["backend_version"], *_setting(run)) in split:
        doubts.append("runs of one build and setting differ by a fifth and more: something of them is not recorded")
    if first := _first(line, run, seen):
        doubts.append(f"the same run as line {first}")
    length = MEAN_LENGTH if drawn else 1.0
    model, weights = _checkpoint(run)
    together = run["mode"] == "agg"
    tp, dp, ep = _split(run) if together else _worker(run, "decode")
    pp = _count(run["pp_size"] if together else run["decode_pp_size"])
    for metric, column in (("ttft_ms", "silicon_ttft_ms"), ("tpot_ms", "silicon_tpot_ms")):
        yield Row(
            line=line,
            source_id="InferenceX" if drawn else "NVIDIA",
            engine=run["backend"],
            engine_version=_version(run),
            model=model,
            gpu=DEVICES[run["system"]],
            n_gpus=tp * pp * dp,
            tp=tp,
            pp=pp,
            weight_dtype=weights,
            act_dtype=_fed(run, drawn),
            kv_dtype=_cache(run, drawn),
            prompt_tokens=round(int(run["isl"]) * length),
            output_tokens=round(int(run["osl"]) * length),
            batch_or_concurrency=_at_once(run) if together else _in_flight(run),
            mode="concurrency" if together else DISAGGREGATED,
            metric=metric,
            value=float(run[column]),
            unit="ms",
            note="; ".join([*doubts, *waits, *notes]),
            quality="suspect" if doubts else "queueing" if waits else "ok",
            source=f"aiconfigurator-core {package_version()} {FILE}",
            dp=dp,
            ep=ep,
        )


def _setting(run: dict[str, str]) -> tuple[str, ...]:
    """What two runs have in common that should take the same time; DeepSeek R1 goes by both of its names."""
    return (run["model_path"].replace("DeepSeek-V3", "DeepSeek-R1"), *(run[name] for name in _SAME), *_sizes(run))


def _contradicting(runs: list[dict[str, str]]) -> set[tuple[str, ...]]:
    """Settings whose runs are farther apart than runs of one build are."""
    found: dict[tuple[str, ...], list[float]] = {}
    for run in runs:
        if run["mode"] != "agg":
            continue
        found.setdefault((run["backend_version"], *_setting(run)), []).append(float(run["silicon_tpot_ms"]))
    return {setting for setting, steps in found.items() if max(steps) > SPREAD * min(steps)}


def _first(line: int, run: dict[str, str], seen: _Seen) -> int:
    """The line where the same run stood before; 0 where this is the first. Remembers it."""
    like = seen.setdefault(_setting(run), [])
    ttft, tpot = float(run["silicon_ttft_ms"]), float(run["silicon_tpot_ms"])
    for at, first, step in like:
        if isclose(first, ttft, rel_tol=ROUNDED) and isclose(step, tpot, rel_tol=ROUNDED):
            return at
    like.append((line, ttft, tpot))
    return 0


def _split(run: dict[str, str]) -> tuple[int, int, int]:
    """(tp, dp, ep) of a run.

    InferenceX names one number of GPUs, and says of attention data parallelism and of expert parallelism whether they
    are on. Where both sizes of the experts were written down as that number, tp_size or attention_dp_size is their
    product ("64" of 8 GPUs). Where tp_size and attention_dp_size are both that number, the same runs stand elsewhere
    as tensor parallel alone, and their times are those of it.
    """
    tp, dp, ep = (_count(run[name]) for name in ("tp_size", "attention_dp_size", "moe_ep_size"))
    columns = _count(run["moe_tp_size"])
    if columns == ep > 1:
        tp, dp = (1, ep) if dp > 1 else (ep, 1)
    elif tp == dp > 1:
        dp, ep = 1, min(ep, tp)
    return tp, dp, ep


def _worker(run: dict[str, str], pool: str) -> tuple[int, int, int]:
    """(tp, dp, ep) of a worker that prefills or decodes."""
    tp, dp, ep = (_count(run[f"{pool}_{name}"]) for name in ("tp_size", "attention_dp_size", "moe_ep_size"))
    return tp, dp, ep


def _pools(run: dict[str, str]) -> list[str]:
    """How many workers there are of each kind, and what a prefill worker is; nothing where it is not recorded."""
    if not run["prefill_num_workers"] or not run["decode_num_workers"]:
        return []
    x, y, together = (_count(run[n]) for n in ("prefill_num_workers", "decode_num_workers", "prefill_batch_size"))
    tp, dp, ep = _worker(run, "prefill")
    return [f"{x} prefill workers of tp {tp} dp {dp} ep {ep}, {together} prompts a pass, {y} decode workers"]


def _in_flight(run: dict[str, str]) -> int | None:
    """Requests in flight of a run whose columns say only how many each worker takes."""
    found = re.search(r"silicon_concurrency=(\d+)", run["silicon_data_source"])
    return int(found[1]) if found else None


def _sizes(run: dict[str, str]) -> tuple[str, ...]:
    """Split and load of a run, however they were written down; as written where its pools have splits of their own."""
    if run["mode"] != "agg":
        return tuple(run[name] for name in ("batch_size", "tp_size", "attention_dp_size", "moe_ep_size"))
    return tuple(map(str, (*_split(run), _at_once(run))))


def _at_once(run: dict[str, str]) -> int:
    """Requests in flight, which each record divides by the attention data parallelism that it names."""
    return int(float(run["batch_size"])) * _count(run["attention_dp_size"])


def _count(text: str) -> int:
    return max(int(float(text or 1)), 1)


def _notes(run: dict[str, str], drawn: bool) -> list[str]:
    """What the columns of the published schema cannot say."""
    dp, ep = _count(run["attention_dp_size"]), _count(run["moe_ep_size"])
    notes = [f"attention data parallel {dp}"] * (dp > 1) + [f"EP{ep}"] * (ep > 1)
    if run["mode"] != "agg":
        notes = _pools(run)
    if drawn:
        return [*notes, "lengths drawn from 0.8 to 1 of the named", *_recipe(run)]
    return [*notes, "outputs end apart"] if run["backend"] in ENDS_APART else notes


def _recipe(run: dict[str, str]) -> list[str]:
    """What InferenceX's launch scripts (benchmarks/*.sh of its repository, 2025-09 to 2026-04) set for a run."""
    if run["mode"] != "agg":
        return []
    engine, tp, c = run["backend"], int(float(run["tp_size"] or 1)), int(float(run["batch_size"]))
    if engine == "trtllm":
        if "Llama" not in run["model_path"]:
            return ["passes of at most 20000 tokens"] if "gpt-oss" in run["model_path"] else []
        gathers = run["isl"] == run["osl"] == "1024" and tp < 8
        return ["passes of at most 16384 tokens", *["prompts gather for 20 steps or 14746 tokens"] * gathers]
    if engine == "sglang" and run["system"][:1] in "bg":
        return ["passes of at most 16384 tokens", f"requests are taken in every {30 if c >= 16 else 10} steps"]
    return ["passes of at most 32768 tokens"] if engine == "sglang" else []


def _version(run: dict[str, str]) -> str:
    """The engine's version; a Dynamo container numbers itself, and holds TensorRT-LLM 1.x."""
    version = run["backend_version"]
    if "ai-dynamo" in run["silicon_data_source"] or (run["backend"] == "trtllm" and version.startswith("0.")):
        return f"1 (Dynamo {version})"
    return version if version[:1].isdigit() else ""  # a build of a day, or not stated: the current generation


def _checkpoint(run: dict[str, str]) -> tuple[str, str]:
    """(model, format of its weights) as the names of published files have them."""
    name, products = run["model_path"].rsplit("/", 1)[-1], run["gemm_quant_mode"]
    known = CHECKPOINTS.get((name, products))
    if known is not None:
        return known
    if name in _AS_DECLARED and products in ("fp8", "int4_wo"):
        return name, ""
    return name, products or "bf16"


def _cache(run: dict[str, str], drawn: bool) -> str:
    """The cache's format by InferenceX's recipes: FP8 on Blackwell; of Llama and TensorRT-LLM on Hopper too."""
    model, hopper = run["model_path"], run["system"] in ("h100_sxm", "h200_sxm")
    if not drawn:
        return ""
    if run["gemm_quant_mode"] == "int4_wo" or (hopper and "gpt-oss" in model):
        return "bf16"
    return "fp8" if not hopper or "Llama" in model or run["backend"] == "trtllm" else "bf16"


def _fed(run: dict[str, str], drawn: bool) -> str:
    """What products are fed, where a recipe turns on kernels that take less than the checkpoint declares."""
    return "fp8" if drawn and "gpt-oss" in run["model_path"] and run["system"][:1] in "bg" else ""


def _doubts(run: dict[str, str]) -> list[str]:
    """What speaks against a run, or leaves open what was run."""
    found, said = [], run["silicon_data_source"]
    if run["precision"] == "" and run["system"] in ("gb200", "gb300"):
        found.append("the format of the weights is not recorded")
    if run["model_path"] == "nvidia/Llama-3.1-8B-Instruct-FP8" and run["backend"] == "vllm":
        found.append("its prompts would take the device's full peak: their prefixes were cached, or fewer were sent")
    if "MiniMax" in run["model_path"] and run["system"] == "h200_sxm":
        found.append("the recipe turns expert parallelism on at any setting")
    if "DeepSeek" in run["model_path"] and run["backend"] == "trtllm":
        build = run["backend_version"]
        if build == "1.2.0rc6.post3" or (build == "1.1.0rc2.post2" and "measured=2026-01-14" in said):
            found.append("half the time of the build before it at small batches: it guesses tokens ahead, unmarked")
    return found


def _waits(run: dict[str, str]) -> list[str]:
    """Whether a request waits longer for its first token than it then takes: fewer run at a time than are sent."""
    decoding = float(run["silicon_tpot_ms"]) * int(run["osl"])
    return ["requests mostly wait: fewer run at a time than are sent"] * (float(run["silicon_ttft_ms"]) > decoding)
