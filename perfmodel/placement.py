"""Who chooses the split: the user, as far as given, or the fewest devices that hold it."""

from __future__ import annotations

from typing import Any, NamedTuple

from perfmodel.deployment import EXCHANGES, Deployment, most_devices, split_error, splits
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.memory import Memory, fewest_gpus, memory
from perfmodel.remedies import ways_out
from perfmodel.spec import nearest
from perfmodel.units import show_bytes
from perfmodel.workload import Workload


class Asked(NamedTuple):
    """The split as far as it was given."""

    gpu_count: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    cp: int | None = None
    replicas: int | None = None

    @property
    def others(self) -> int:
        """Devices for each of the tp·pp that hold the model once."""
        return (self.dp or 1) * (self.cp or 1) * (self.replicas or 1)


def schedule(
    microbatches: object, interleave: object, overlap: object, exchange: str, balanced: bool
) -> dict[str, Any]:
    """How split work is run, as fields of a deployment; RequestError in one sentence for what cannot be."""
    for flag, value in (("--microbatches", microbatches), ("--interleave", interleave)):
        whole = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= 10**6
        if not whole and not (value is None and flag == "--microbatches"):
            raise RequestError(f"{flag} must be a whole number of at least 1; got {value!r}.")
    if isinstance(overlap, bool) or not isinstance(overlap, (int, float)) or not 0 <= overlap <= 1:
        raise RequestError(f"--overlap must be from 0 (nothing hides) to 1, like 0.8; got {overlap!r}.")
    if exchange not in EXCHANGES:
        guess = nearest(str(exchange), EXCHANGES) or "auto"
        raise RequestError(f'--exchange must be {", ".join(EXCHANGES)}; got "{exchange}" (did you mean {guess}?).')
    return {
        "microbatches": microbatches,
        "interleave": interleave,
        "overlap": float(overlap),
        "exchange": exchange,
        "balanced": bool(balanced),
    }


def placed(single: Deployment, work: Workload, asked: Asked) -> tuple[Deployment, str]:
    """The deployment on its devices, and a sentence that says who chose them."""
    for name, value in asked._asdict().items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 10**6):
            flag = f"--{name.replace('_', '-')}"
            raise RequestError(f"{flag} must be a whole number of at least 1; got {value!r}.")
    if all(value in (None, 1) for value in asked[3:]) and asked[:3] == (None, None, None):
        return _fewest(single, work)
    tp, pp = _completed(single, asked)
    dp, ep, cp, replicas = (value or 1 for value in asked[3:])
    if complaint := split_error(single.model, single.gpu, tp, pp, dp, ep, cp):
        raise RequestError(f"{complaint}; {_way(single, asked, tp, pp)}.")
    plan = single.split(tp, pp, dp, ep, cp, replicas)
    if cp > work.smallest_prompt:
        raise RequestError(f"--cp {cp} is more devices than a prompt has tokens; --cp {work.smallest_prompt} at most.")
    if plan.interleave > 1 and pp * plan.interleave > plan.model.layers:
        most = plan.model.layers // pp
        raise RequestError(
            f"--interleave {plan.interleave} needs {pp * plan.interleave} layers, {plan.model.name} has "
            f"{plan.model.layers}; --interleave {most} at most."
        )
    return plan, f"{_devices(plan)} as asked"


def _fewest(single: Deployment, work: Workload) -> tuple[Deployment, str]:
    plan = fewest_gpus(single, work)
    if plan is None:
        tp, pp = splits(single.model, single.gpu, most_devices(single.model, single.gpu))[0]
        most, largest = single.split(tp, pp), work.largest()
        held = memory(most, largest)
        raise DoesNotFitError(
            f"No split holds it, not even the largest: {too_big(most, held)}", ways_out(most, largest)
        )
    if plan.gpu_count == 1:
        return plan, "1 GPU, the fewest that holds model and workload"
    return plan, f"{_devices(plan)}, the fewest that hold model and workload"


def _devices(plan: Deployment) -> str:
    sizes = {"TP": plan.tp, "PP": plan.pp, "DP": plan.dp, "EP": plan.ep, "CP": plan.cp}
    parts = [f"{name} {n}" for name, n in sizes.items() if n > 1 and name != "EP"]
    split = " × ".join(parts or ["TP 1"]) + (f", experts in {plan.ep} parts" if plan.ep > 1 else "")
    split += f", {plan.replicas} replicas" if plan.replicas > 1 else ""
    return f"{plan.gpu_count} GPU{'s' if plan.gpu_count > 1 else ''} ({split})"


def _completed(single: Deployment, asked: Asked) -> tuple[int, int]:
    """tp and pp from whatever was given; RequestError when it contradicts itself."""
    count, tp, pp, others = asked.gpu_count, asked.tp, asked.pp, asked.others
    if count is None:
        return tp or 1, pp or 1
    if count % others:
        shared = " × ".join(f"--{name} {n}" for name, n in asked._asdict().items() if name in _OTHERS and (n or 1) > 1)
        raise RequestError(f"--gpu-count {count} is no multiple of {shared}; give --gpu-count {others * (tp or 1)}.")
    left = count // others
    if tp is None and pp is None:
        found = splits(single.model, single.gpu, left, asked.dp or 1, asked.ep or 1, asked.cp or 1)
        if not found:
            raise RequestError(
                f"{single.model.name} cannot be split over {count} {single.gpu.name}; {_way(single, asked, left, 1)}."
            )
        return found[0]
    tp = tp or max(left // (pp or 1), 1)
    pp = pp or max(left // tp, 1)
    if tp * pp != left:
        others_named = f" × {others} others" if others > 1 else ""
        raise RequestError(
            f"--gpu-count {count} is not --tp {tp} × --pp {pp}{others_named}; "
            f"give --gpu-count {tp * pp * others} or only two."
        )
    return tp, pp


_OTHERS = ("dp", "cp", "replicas")


def _way(single: Deployment, asked: Asked, tp: int, pp: int) -> str:
    """What would work in place of a split that does not: without its further flags, or another tp and pp."""
    if all(value in (None, 1) for value in asked[3:]):
        return _nearest_split(single, tp * pp)
    dp, cp, model, gpu = asked.dp or 1, asked.cp or 1, single.model, single.gpu
    for ep in range(tp * dp, 0, -1):
        if not split_error(model, gpu, tp, pp, dp, ep, cp):
            return f"--ep {ep} would work" if ep > 1 or (asked.ep or 1) > 1 else "it would work without --ep"
    if not split_error(model, gpu, tp, pp, dp):
        return "it would work without --cp"
    return "it would work without --dp" if not split_error(model, gpu, tp, pp) else _nearest_split(single, tp * pp)


def _nearest_split(single: Deployment, count: int) -> str:
    """A split that works, on as near a number of devices as can be."""
    for distance in range(4096):
        for near in (count - distance, count + distance):
            if near > 0 and (found := splits(single.model, single.gpu, near)):
                tp, pp = found[0]
                return f"--tp {tp} --pp {pp} would work"
    return "--tp 1 --pp 1 would work"


def unfit(plan: Deployment) -> str:
    """That it does not fit, without figures."""
    return f"{plan.model.name} does not fit {plan.gpu_count} × {plan.gpu.name}"


def too_big(plan: Deployment, held: Memory) -> str:
    """Why it does not fit, in bytes a GPU."""
    parts = (("weights", held.weights), ("KV cache", held.kv_cache), ("activations", held.activations))
    listed = ", ".join(f"{name} {show_bytes(size)}" for name, size in parts)
    return (
        f"{unfit(plan)}: needs {show_bytes(held.used)} a GPU "
        f"({listed}, reserve {show_bytes(held.reserve)}), has {show_bytes(held.capacity)}."
    )
