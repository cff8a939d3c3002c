"""What llama.cpp's llama-bench prints: -o json, jsonl, csv, or the Markdown table.

Follows tools/llama-bench/llama-bench.cpp (examples/ before 2025; builds of 2023 to 2026). A test is pp (prompt
alone), tg (output alone) or both; `avg_ts` is tokens a second; since 2025 `n_depth` tokens stand in the cache
before it. Markdown does not tell the device, nor the model's file; the build stands below the table.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass
from typing import Any

from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.fields import Fields
from perfmodel.benchmarked.run import Figure, Run
from perfmodel.errors import SpecError
from perfmodel.published.names import Unscored, model_of

TOOL = "llama-bench"
TOOLS = (TOOL,)
_QUANT = re.compile(r"(?<![a-z0-9])((?:i?q|tq)\d(?:_[a-z0-9]+)*|bf16|f16|f32|mxfp4)(?: - (small|medium|large))?", re.I)
_SIZES = {"small": "_s", "medium": "_m", "large": "_l"}
_TEST = re.compile(r"(?:pp ?(?P<pp>\d+))?\+?(?:tg ?(?P<tg>\d+))?(?: ?@ ?d(?P<depth>\d+))?")
_BUILD = re.compile(r"build: ([0-9a-f]+) \((\d+)\)")
BACKENDS = ("metal", "vulkan", "sycl", "rocm", "hip")


@dataclass(frozen=True)
class _Test:
    """One line of results."""

    fields: Fields
    prompt: int
    output: int
    depth: int


def recognises(content: Content) -> bool:
    if content.is_json:
        return any("avg_ts" in record and "n_gen" in record for record in content.records)
    first = content.text.lstrip().split("\n", 1)[0]
    return ("avg_ts" in first and "n_gen" in first) or _is_markdown(content.text)


def _is_markdown(text: str) -> bool:
    return any(line.startswith("|") and "test" in line and "t/s" in line for line in text.splitlines()[:50])


def runs(content: Content) -> list[Run]:
    """A run of each test."""
    return [_run(Fields(record, content.shown)) for record in _records(content)]


def _records(content: Content) -> list[dict[str, Any]]:
    if content.is_json:
        return [record for record in content.records if "avg_ts" in record]
    return _table(content) if _is_markdown(content.text) else _csv(content)


def _csv(content: Content) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(content.text, newline="")))
    except csv.Error as error:
        raise SpecError(f"{content.shown}: is not CSV: {error}.") from None
    for i, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise SpecError(f"{content.shown}: line {i}: has more or fewer fields than the first line; is it whole?")
    return rows


def _table(content: Content) -> list[dict[str, Any]]:
    """The lines of a Markdown table, by the names that the other formats have."""
    lines = [
        [c.strip() for c in line.strip().strip("|").split("|")] for line in content.text.splitlines() if line[:1] == "|"
    ]
    header, build = lines[0], _BUILD.search(content.text)
    found: list[dict[str, Any]] = []
    for cells in lines[1:]:
        if len(cells) != len(header):
            raise SpecError(f"{content.shown}: a line of the table has {len(cells)} cells, not {len(header)}.")
        cell = dict(zip(header, cells, strict=True))
        if not cell["t/s"].strip("-: ") or cell == dict(zip(header, header, strict=True)):
            continue  # the rule below the header, or the header again
        test = _TEST.fullmatch(cell["test"])
        if test is None or not (test["pp"] or test["tg"]):
            raise SpecError(f'{content.shown}: test: needs "pp512" or "tg128"; got {cell["test"][:40]!r}.')
        record = {
            "model_type": cell.get("model", ""), "backends": cell.get("backend", ""), "n_prompt": test["pp"] or "0",
            "n_gen": test["tg"] or "0", "n_depth": test["depth"] or "0", "avg_ts": cell["t/s"].split("±")[0].strip(),
            "type_k": cell.get("type_k", ""), "type_v": cell.get("type_v", ""), "split_mode": cell.get("sm", ""),
        }  # fmt: skip
        found.append(record | ({"build_number": build[2]} if build else {}))
    return found


def _run(f: Fields) -> Run:
    test = _Test(f, *(f.whole(name) or 0 for name in ("n_prompt", "n_gen", "n_depth")))
    gpu, count = _devices(f)
    kv = [f.text(name).lower() for name in ("type_k", "type_v")]
    notes = (
        [f"keys of the cache in {kv[0][:12]}, values in {kv[1][:12]}"] if kv[0] != kv[1] else []
    )  # the deployment has one format for both
    doubts = kv[0] != kv[1] or (f.number("n_cpu_moe") or 0) > 0 or f.text("no_kv_offload") in ("1", "true")
    if test.depth and not test.output:
        notes.append(f"a prompt behind {test.depth} tokens in the cache")
        doubts = True
    number = f.whole("build_number")
    return Run(
        TOOL,
        f.where,
        (_figure(test),),
        "single_stream",
        engine="llama.cpp" + _backend(f),
        engine_version=f"b{number}" if number else "",
        model=_model(f),
        gpu=gpu,
        gpu_count=count,
        weights=_weights(f.text("model_type")),
        kv="" if kv[0] in ("", "f16") else kv[0],
        prompt=test.prompt or test.depth,
        output=test.output,
        batch=1,
        notes=tuple(notes),
        quality="suspect" if doubts else "ok",
    )


def _figure(test: _Test) -> Figure:
    rate = test.fields.needed("avg_ts")
    if test.prompt and test.output:
        return Figure("total_tok_s", rate, "tok/s")
    if test.prompt:
        return Figure("prefill_tok_s", rate, "tok/s")
    if not test.output:
        raise SpecError(f"{test.fields.at('n_gen')}: is 0, and n_prompt too; a test has one of them.")
    return Figure("decode_tok_s", rate, "tok/s")


def _devices(f: Fields) -> tuple[str, int | None]:
    """The device and how many; "" where several kinds or none are told."""
    listed = [name.strip() for name in f.text("gpu_info").split(", ") if name.strip()]
    if f.text("split_mode") == "none":
        listed = listed[:1]
    return (listed[0], len(listed)) if len(set(listed)) == 1 else ("", None)


def _backend(f: Fields) -> str:
    """The build, where it is not CUDA's."""
    told = f.text("backends", "backend").lower()
    name = next((name for name in BACKENDS if name in told), "")
    return f" ({name})" if name else ""


def _weights(kind: str) -> str:
    """The format that a model's description ends with: "qwen2 7B Q4_K - Medium" is q4_k_m."""
    found = list(_QUANT.finditer(kind))
    return found[-1][1].lower() + _SIZES.get((found[-1][2] or "").lower(), "") if found else ""


def _model(f: Fields) -> str:
    """The catalog's name in the file's name, without what tells the format; "" where it has none: --model says it."""
    stem = re.split(r"[/\\]", f.text("model_filename"))[-1].removesuffix(".gguf")
    stem = re.sub(r"-\d{5}-of-\d{5}$", "", stem)
    cut = _QUANT.search(stem)
    for name in (stem, stem[: cut.start()].rstrip("-._") if cut else stem):
        try:
            return model_of(name).name
        except Unscored:
            continue
    return ""
