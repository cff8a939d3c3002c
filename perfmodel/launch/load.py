"""Load tests that would show whether a server does what a plan says: `vllm bench serve`, GuideLLM, AIPerf."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from math import sqrt

from perfmodel.launch.flags import TOOLS, numbers
from perfmodel.launch.sheet import Command, Sheet, blanks, written
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.traffic import Traffic

GOALS = ("ttft_s", "tpot_s", "e2e_s")
"""Goals of a request: time to first token, per token after it, end to end, each in seconds."""
Server = tuple[str, str, str]  # what requests call the model, its tokenizer, the address
MILLI = 1e3
RATIO_DIGITS = 6
"""Of a half-width: with fewer, the ends of long lengths move by more than the rounding of their mean."""
WIDEST = 0.95
"""Largest half-width of a uniform distribution over its mean; vllm bench takes less than 1."""
JSON_RANGES = (0, 24)
"""From which of the checked versions on vllm bench takes another range of inputs than of outputs."""


def load_tests(
    model: str,
    tokenizer: str,
    url: str,
    traffic: Traffic,
    goals: Mapping[str, float | None] | None = None,
    vllm: str = "",
    context: int | None = None,
) -> dict[str, Command]:
    """Tool → the command that sends `traffic` to the server, and what it cannot say of it (`Command.notes`).

    `model` is what requests call it, `tokenizer` the repository of its tokenizer, `url` where the server listens.

    `goals` are in seconds, by the names of `GOALS`; the tools report goodput, the requests that meet all of them
    (Zhong et al. 2024, DistServe, §2). `vllm` is the version of vLLM that sends, where it is not the newest known;
    `context` the longest request that the server takes, which the tools are kept to where they can be.
    """
    traffic = _after_prefix(_within(traffic, context))
    asked = {name: value for name, value in (goals or {}).items() if name in GOALS and value is not None}
    return {
        "vllm bench serve": _vllm((model, tokenizer, url), traffic, asked, vllm),
        "guidellm": _guidellm((model, tokenizer, url), traffic, asked),
        "aiperf": _aiperf((model, tokenizer, url), traffic, asked),
    }


def _within(traffic: Traffic, context: int | None) -> Traffic:
    """The same with ends of lengths that together stay within `context`."""
    if context is None:
        return traffic
    p, o = traffic.prompts, traffic.outputs
    share = p.mean / (p.mean + o.mean)
    longest = context - o.mean if o.kind == "fixed" else context * share
    written_out = context - p.mean if p.kind == "fixed" else context * (1 - share)
    return replace(traffic, prompts=_ended(p, longest), outputs=_ended(o, written_out))


def _ended(lengths: Lengths, most: float) -> Lengths:
    if lengths.kind in ("fixed", "uniform"):  # as they were stated; the context was made to hold them
        return lengths
    return replace(lengths, high=max(min(lengths.high, int(most)), lengths.mean))


def _after_prefix(traffic: Traffic) -> Traffic:
    """The same with lengths of prompts that the shared prefix, which every tool puts before them, is taken from."""
    p = traffic.prompts
    cached = min(traffic.cached, round(p.mean) - 1)
    if cached <= 0:
        return replace(traffic, cached=0)
    left = p.mean - cached
    if p.kind == "uniform":
        rest = Lengths.uniform(max(round(p.low) - cached, 1), max(round(p.high) - cached, 1))
    else:
        rest = replace(p, mean=left, squares=p.squares - p.mean**2 + left**2, high=max(p.high - cached, left))
    return replace(traffic, prompts=rest, cached=cached)


def _milliseconds(goals: Mapping[str, float], names: Mapping[str, str]) -> list[str]:
    return [f"{names[name]}:{written(float(value) * MILLI)}" for name, value in goals.items()]


# ── vLLM ─────────────────────────────────────────────────────────────────────────────────────────


def _vllm(server: Server, traffic: Traffic, goals: Mapping[str, float], version: str) -> Command:
    known, (model, tokenizer, url) = TOOLS["vllm bench"], server
    at = version if version and numbers(version) >= numbers(known.oldest) else known.newest
    sheet = Sheet("vllm bench", at)
    sheet.add("--backend", "openai")
    sheet.add("--base-url", url)
    sheet.add("--endpoint", "/v1/completions")
    sheet.add("--model", model)
    if tokenizer != model:
        sheet.add("--tokenizer", tokenizer)
    sheet.add("--dataset-name", "random")
    if _shared(sheet, traffic):
        sheet.add("--random-prefix-len", traffic.cached)
    sheet.add("--random-input-len", round(traffic.prompts.mean))
    sheet.add("--random-output-len", round(traffic.outputs.mean))
    _ranges(sheet, traffic)
    sheet.add("--num-prompts", traffic.requests)
    if traffic.arrival == "closed":
        sheet.add("--max-concurrency", traffic.concurrency)
    elif (rate := _rate(sheet, traffic)) is not None:
        sheet.add("--request-rate", rate)
    sheet.add("--ignore-eos")
    sheet.add("--percentile-metrics", "ttft,tpot,itl,e2el")
    sheet.add("--metric-percentiles", "50,95,99")
    if goals:
        sheet.add("--goodput", *_milliseconds(goals, {"ttft_s": "ttft", "tpot_s": "tpot", "e2e_s": "e2el"}))
    sheet.add("--seed", traffic.seed)
    return sheet.command("vLLM's own")


def _ranges(sheet: Sheet, traffic: Traffic) -> None:
    """Lengths alike between mean·(1 − r) and mean·(1 + r), as near as that comes."""
    ranges = {"input": _half_width(traffic.prompts), "output": _half_width(traffic.outputs)}
    if any(ranges.values()):
        if ranges["input"] == ranges["output"]:
            sheet.add("--random-range-ratio", ranges["input"])
        elif sheet.tool == "aiperf" or numbers(sheet.version) >= JSON_RANGES:
            sheet.add("--random-range-ratio", ranges)
        else:
            sheet.note("this version has one range for inputs and outputs: their means are sent")
    for lengths, name in ((traffic.prompts, "prompts"), (traffic.outputs, "outputs")):
        if lengths.kind not in ("fixed", "uniform"):
            sheet.note(_other(lengths, name, "uniform"))


def _half_width(lengths: Lengths) -> float:
    """r of a uniform distribution: (high − low)/(high + low), or √3 standard deviations of the mean, to its end."""
    if lengths.kind == "fixed":
        return 0.0
    if lengths.kind == "uniform":
        return round(min((lengths.high - lengths.low) / (lengths.high + lengths.low), WIDEST), RATIO_DIGITS)
    return round(min(sqrt(3) * lengths.spread, lengths.high / lengths.mean - 1, WIDEST), RATIO_DIGITS)


def _other(lengths: Lengths, name: str, kind: str) -> str:
    reached = kind != "uniform" or sqrt(3) * lengths.spread <= _half_width(lengths) + 1e-4
    capped = "" if reached else " as far as it reaches"
    return f"{name} are {lengths}; this tool draws them {kind}, with the same mean and spread{capped}"


# ── GuideLLM ─────────────────────────────────────────────────────────────────────────────────────


def _guidellm(server: Server, traffic: Traffic, goals: Mapping[str, float]) -> Command:
    """Its options are kind=…,key=value lists, or JSON (guidellm/utils/click_pydantic.py)."""
    sheet, (model, tokenizer, url) = Sheet("guidellm", TOOLS["guidellm"].newest), server
    sheet.add("--backend", _listed(sheet, kind="openai_http", target=url, model=model))
    sheet.add("--tokenizer", _listed(sheet, kind="huggingface_auto", model=tokenizer))
    rate = None if traffic.arrival == "closed" else _rate(sheet, traffic)
    if traffic.arrival == "closed":
        sheet.add("--profile", _listed(sheet, kind="concurrent", streams=traffic.concurrency))
    elif rate is None:
        sheet.add("--profile", _listed(sheet, kind="throughput", max_concurrency=traffic.requests))
    else:
        sheet.add("--profile", _listed(sheet, kind="poisson", rate=rate))
    data: dict[str, object] = {"kind": "synthetic_text"}
    data |= _told(sheet, traffic.prompts, "prompt_tokens") | _told(sheet, traffic.outputs, "output_tokens")
    if _shared(sheet, traffic):
        data["prefix_tokens"] = traffic.cached
    sheet.add("--data", _listed(sheet, **data))
    sheet.add("--constraint", _listed(sheet, kind="max_requests", count=traffic.requests))
    if goals:
        names = {"ttft_s": "ttft_ms", "tpot_s": "tpot_ms", "e2e_s": "e2el_ms"}
        slo = {names[name]: _whole(float(value) * MILLI) for name, value in goals.items()}
        sheet.add("--metrics", {"kind": "generative", "slo": slo})
    sheet.add("--seed", _listed(sheet, kind="static", value=traffic.seed))
    return sheet.command("GuideLLM")


def _told(sheet: Sheet, lengths: Lengths, key: str) -> dict[str, object]:
    """A distribution by GuideLLM's keys: without a deviation it draws alike between least and most."""
    mean = max(round(lengths.mean), 1)
    if lengths.kind == "fixed":
        return {key: mean}
    if lengths.kind == "uniform":
        return {key: mean, f"{key}_min": round(lengths.low), f"{key}_max": round(lengths.high)}
    sheet.note(_other(lengths, key.replace("_tokens", "s"), "normal (cut off at 1)"))
    deviation = max(round(lengths.spread * lengths.mean), 1)
    return {key: mean, f"{key}_stdev": deviation, f"{key}_min": 1, f"{key}_max": max(round(lengths.high), mean)}


def _listed(sheet: Sheet, **values: object) -> str:
    """Keys and values as GuideLLM's options take them: JSON where a value would break the list."""
    assert all(sheet.has(key) for key in values)
    texts = {key: written(value) for key, value in values.items()}
    if any("," in text or "=" in text or blanks([text]) for text in texts.values()):
        return json.dumps(values, separators=(",", ":"))
    return ",".join(f"{key}={text}" for key, text in texts.items())


# ── AIPerf ───────────────────────────────────────────────────────────────────────────────────────


def _aiperf(server: Server, traffic: Traffic, goals: Mapping[str, float]) -> Command:
    sheet, (model, tokenizer, url) = Sheet("aiperf", TOOLS["aiperf"].newest), server
    sheet.add("--model", model)
    sheet.add("--url", url)
    sheet.add("--endpoint-type", "completions")
    sheet.add("--streaming")
    sheet.add("--tokenizer", tokenizer)
    if _shared(sheet, traffic):
        sheet.add("--num-prefix-prompts", 1)
        sheet.add("--prefix-prompt-length", traffic.cached)
    sheet.add("--isl", round(traffic.prompts.mean))
    sheet.add("--osl", round(traffic.outputs.mean))
    if {traffic.prompts.kind, traffic.outputs.kind} <= {"fixed", "uniform"}:
        _ranges(sheet, traffic)
    else:
        for lengths, flag, name in (
            (traffic.prompts, "--isl-stddev", "prompts"),
            (traffic.outputs, "--osl-stddev", "outputs"),
        ):
            if lengths.kind != "fixed":
                sheet.add(flag, round(lengths.spread * lengths.mean))
                sheet.note(_other(lengths, name, "normal (above 0, without an end)"))
    sheet.add("--request-count", traffic.requests)
    if traffic.arrival == "closed":
        sheet.add("--concurrency", traffic.concurrency)
    elif (rate := _rate(sheet, traffic)) is not None:
        sheet.add("--request-rate", rate)
        sheet.add("--arrival-pattern", "poisson")
    else:
        sheet.add("--concurrency", traffic.requests)
    sheet.add("--extra-inputs", "ignore_eos:true")
    if goals:
        names = {"ttft_s": "time_to_first_token", "tpot_s": "inter_token_latency", "e2e_s": "request_latency"}
        sheet.add("--goodput", " ".join(_milliseconds(goals, names)))
    sheet.add("--random-seed", traffic.seed)
    return sheet.command("AIPerf")


# ── what all of them are told ────────────────────────────────────────────────────────────────────


def _rate(sheet: Sheet, traffic: Traffic) -> float | None:
    """Requests a second; None for all at once. Of a trace, its mean."""
    if traffic.arrival == "burst":
        return None
    if traffic.arrival == "trace":
        sheet.note("the trace's times and pairs of lengths are not replayed: its mean rate and lengths are sent")
        span = max(at for at, _, _ in traffic.times) - min(at for at, _, _ in traffic.times)
        return round((len(traffic.times) - 1) / span, 4) if span > 0 else None
    return traffic.rate


def _shared(sheet: Sheet, traffic: Traffic) -> bool:
    """Whether prompts share a prefix; tools send it with every one."""
    if traffic.cached and traffic.hit < 1:
        sheet.note(f"every prompt begins with the shared prefix, not {traffic.hit:.0%} of them")
    return traffic.cached > 0


def _whole(value: float) -> float | int:
    return int(value) if value == int(value) else value
