"""From ops to the answer: ridge, bounds, expected times, throughput, use and cost."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from perfmodel.answer import Estimate, million_seconds_usd, utilisation
from perfmodel.batching import prefill_passes
from perfmodel.calibration import Constants
from perfmodel.expected import expected_waits, launches
from perfmodel.explain.held import lettered_work
from perfmodel.explain.lettered import lettered, lettered_gpu
from perfmodel.explain.text import line, prose
from perfmodel.explain.walk import steps
from perfmodel.kernels import Waits
from perfmodel.kernels.sustained import Sustained
from perfmodel.latency import LEGS, Time, added, end_to_end, step_time
from perfmodel.op import Op
from perfmodel.roofline import bound_s, ridge
from perfmodel.traced import Traced, value_of
from perfmodel.units import show_bytes_per_s, show_flops_per_s, show_seconds

ROOFLINE = "Williams et al. 2009"
CONSTANT_LETTERS = {"launch_s": "launch", "compute": "η_c", "memory": "η_m"}
"""Letters of constants; the others go by their names in perfmodel.kernels, without the unit."""


class LetteredConstants(Constants):
    """Constants as `Traced` numbers; those that are 0 stay plain, and vanish from equations."""

    def of(self, kernel: str, key: str) -> Any:
        return _lettered(Constants.of(self, kernel, key))

    def of_link(self, link: str, operation: str, span: int) -> Any:
        return _lettered(Constants.of_link(self, link, operation, span))


def _lettered(constants: Any) -> Any:
    if isinstance(constants, Sustained):
        return constants  # factors of the whole model, most of them 1
    named: dict[str, Any] = {}
    for field in fields(constants):
        value = getattr(constants, field.name)
        if value:
            letters = CONSTANT_LETTERS.get(field.name, field.name.removesuffix("_s"))
            named[field.name] = Traced(value, letters, f"{value:.4g}".replace("e-0", "e-"))
    return replace(constants, **named)


def time_lines(answer: Estimate) -> list[str]:
    """The section on times."""
    plan = answer.plan
    knee = ridge(lettered_gpu(plan.gpu), plan.precision.compute)
    peak, bandwidth = plan.gpu.peak(plan.precision.compute), plan.gpu.memory_bandwidth
    lines = [
        prose(
            f"peak is the GPU's dense rate in the op's format ({show_flops_per_s(peak)} in {plan.precision.compute}), "
            f"bandwidth that of its memory ({show_bytes_per_s(bandwidth)}), link that of the network an op must use."
        ),
        prose(
            "‖a, b‖ is √(a² + b²). η_c and η_m are the shares of peak and bandwidth that kernels reach, launch what it "
            "takes to start one, and the other words the constants of perfmodel.kernels; all calibrated "
            "(docs/accuracy.md)."
        ),
        line("ridge point", knee, f"{value_of(knee):.4g} FLOP/byte", ROOFLINE),
    ]
    for phase in ("prefill", "decode"):
        lines += ["", *longest_lines(answer, phase)]
    return [*lines, "", *latency_lines(answer), "", *rate_lines(answer)]


def longest_lines(answer: Estimate, phase: str) -> list[str]:
    """Bound and expected time of the three kernels that take longest, all their repetitions together."""
    gpu = lettered_gpu(answer.plan.gpu)
    c = LetteredConstants(gpu, answer.plan.engine)
    walked = steps(answer, phase)
    repeats = {named.name: op.repeat for named, op in walked}
    kernels = [kernel for kernel in launches([named for named, _ in walked]) if kernel.whole.kind != "fused"]
    bounds = [(kernel, bound_s(kernel.whole, gpu, c.engine.half_sums)) for kernel in kernels]
    longest = sorted(bounds, key=lambda found: -float(value_of(found[1])) * repeats[found[0].whole.name])[:3]
    what = "the prefill" if phase == "prefill" else "the first decode step"
    lines = [f"The three kernels with the largest bound in {what}, seconds of one repetition:"]
    for (op, parts), bound in longest:
        name, repeat = " + ".join(part.name for part in parts), repeats[op.name]
        lines.append(line(name, bound, f"{show_seconds(value_of(bound))} at least, × {repeat}", ROOFLINE))
        lines += _waited(expected_waits(summed(op) if op.is_matmul else op, c))
    return lines


def _waited(waits: Waits) -> list[str]:
    """What a kernel waits for, leg by leg, and all of it together."""
    words = {"compute": "computing", "bandwidth": "moving", "link": "talking", "overhead": "overhead", "alone": "apart"}
    legs = {name: getattr(waits, name) for name in words if value_of(getattr(waits, name))}
    lines = [line(f"  {words[name]}", leg, show_seconds(value_of(leg))) for name, leg in legs.items()]
    named = {name: _seconds(value_of(leg), words[name]) for name, leg in legs.items()}
    total = Waits(**named).total
    return [*lines, line("  together", total, f"{show_seconds(value_of(total))} expected")]


def latency_lines(answer: Estimate) -> list[str]:
    """TTFT, TPOT and end to end: what the expected times are made of, their bounds and intervals."""
    work, latency = answer.work, answer.latency
    count = prefill_passes(lettered(answer.plan), lettered_work(work)).count
    named = lettered_work(work)
    e2e = end_to_end(answer.plan, _named(latency.ttft, "TTFT"), _named(latency.tpot, "TPOT"), named).expected
    return [
        prose("Expected times add up all ops of a pass, and the engine's time a layer, a pass and a prompt."),
        line("passes of the prefill", count, f"{value_of(count)}"),
        line("TTFT", _legs(latency.ttft), _told(latency.ttft)),
        *_guessed_lines(answer),
        line("TPOT", _legs(latency.tpot), f"{_told(latency.tpot)}, mean over the steps, whose context grows"),
        line("end to end", e2e, _told(latency.e2e)),
    ]


def _guessed_lines(answer: Estimate) -> list[str]:
    """Of speculation: tokens that a pass yields, and the time of a step for each of them."""
    s = answer.plan.speculation
    if s is None:
        return []
    source = "Leviathan et al. 2023, eq. 1" if s.nodes is None else "Cai et al. 2024 (Medusa), §2.3.3"
    step = step_time(answer.plan, answer.work, answer.work.prompt).expected
    each = _seconds(step, "step") / _rounded(s.tokens_a_pass, "E")
    return [
        line("tokens a pass, E", None, f"{s.tokens_a_pass:.4g}, of {s.verified} that are verified", source),
        line("a token of a step", each, f"{show_seconds(value_of(each))} in the first; draft, pass and accepting"),
    ]


def rate_lines(answer: Estimate) -> list[str]:
    """Throughput, shares of the peaks, cost and energy."""
    plan, latency, work = answer.plan, answer.latency, lettered_work(answer.work)
    n = Traced(plan.gpu_count, "GPUs")
    rate = work.output_tokens / _seconds(latency.e2e.expected, "e2e")
    user = 1 / _seconds(latency.tpot.expected, "TPOT")
    lines = [
        line("tokens/s in all", rate, f"{value_of(rate):.4g}"),
        line("tokens/s of a user", user, f"{value_of(user):.4g}"),
        *_use_lines(answer, n),
    ]
    bought = _rounded(rate, "rate")
    if answer.price_per_hour is not None:
        cost = million_seconds_usd(Traced(answer.price_per_hour, "price"), n) / bought
        lines.append(line("USD/million tokens", cost, f"{value_of(cost):.3g}"))
    if plan.gpu.power is not None:
        energy = Traced(plan.gpu.power, "power") * n / bought
        lines.append(line("J/token, at most", energy, f"{value_of(energy):.3g}"))
    return lines


def _use_lines(answer: Estimate, n: Traced) -> list[str]:
    plan, latency = answer.plan, answer.latency
    peak = Traced(plan.gpu.peak(plan.precision.compute), "peak") * n
    width = Traced(plan.gpu.memory_bandwidth, "bandwidth") * n
    step = step_time(plan, answer.work, answer.work.prompt).expected
    products = Traced(answer.prefill.matmul_flops, "FLOPs")
    mfu = utilisation(products, _seconds(latency.ttft.expected, "TTFT"), peak)
    mbu = utilisation(Traced(answer.step_bytes, "bytes"), _seconds(step, "step"), width)
    return [
        line("MFU of the prefill", mfu, f"{value_of(mfu):.1%}", "Chowdhery et al. 2022 (PaLM), App. B"),
        line("MBU of the first step", mbu, f"{value_of(mbu):.1%}"),
    ]


def summed(op: Op) -> Op:
    """`op` with FLOPs, sizes and each kind of bytes as one letter, for equations in which only their sums stand."""
    words = {
        "weight_bytes": "weights",
        "kv_read_bytes": "cache",
        "kv_write_bytes": "written",
        "activation_bytes": "activations",
        "spilled_bytes": "scores",
        "rows": "rows",
        "columns": "columns",
        "depth": "depth",
    }
    named: dict[str, Any] = {
        name: Traced(value, word) for name, word in words.items() if (value := value_of(getattr(op, name)))
    }
    flops = Traced(value_of(op.executed_flops), "FLOPs")
    return replace(op, **named, flops=flops, full_square_flops=None)


def _seconds(value: float, letters: str) -> Traced:
    """A time with five digits in the text: more would say nothing."""
    return Traced(value, letters, f"{value:.5g}")


def _rounded(number: Any, letters: str) -> Traced:
    return Traced(value_of(number), letters, f"{value_of(number):.5g}")


def _named(time: Time, letters: str) -> Time:
    return Time(time.bound, _seconds(time.expected, letters), 0, 0, 0, 0)


def _legs(time: Time) -> Any:
    """compute + bandwidth + link + overhead = expected, by the function that adds them."""
    return added([_seconds(getattr(time, leg), leg) for leg in LEGS if getattr(time, leg)])


def _told(time: Time) -> str:
    ends = f"{show_seconds(time.low)} to {show_seconds(time.high)}"
    return f"{show_seconds(time.expected)} (80 % interval {ends}; bound {show_seconds(time.bound)})"
