"""How one model or GPU looks in a terminal, every figure of it. Formats numbers, computes none."""

from __future__ import annotations

from typing import Any

from perfmodel.calibrated import Calibration, Kernel
from perfmodel.catalog import ALL
from perfmodel.cli.screen import bold, width, wrapped
from perfmodel.computes import ways
from perfmodel.contract import gpu_figures, holds_kernels, inherited, model_figures
from perfmodel.gpu import GPU
from perfmodel.model import Model
from perfmodel.order import LETTERS
from perfmodel.table import Table
from perfmodel.units import show_bytes, show_bytes_per_s, show_count, show_flops_per_s, show_seconds

_PARTS = {"repeat", "mixer", "feed_forward", "beside", "extras"}


def model_screen(model: Model) -> str:
    """One model: sizes, layers and their order, cache and state, parameters by component."""
    lines = [
        ("Parameters", _parameters(model)),
        ("Stored", _stored(model)),
        ("Context", _context(model)),
        ("Width", f"hidden {model.hidden_size:,}, vocabulary {model.vocabulary:,}, {model.layers} layers"),
        *(("Layers" if i == 0 else "", line) for i, line in enumerate(_layers(model))),
        ("Cache", _cache(model)),
        ("Hub", ", ".join(model.hub)),
        ("Source", model.source),
        *(("Note", note) for note in model.notes),
    ]
    sizes = {name: size for name, size in model.parameters().items() if size}
    shares = [f"{size / model.total_parameters:.1%}" for size in sizes.values()]
    table = Table({"component": list(sizes), "parameters": [f"{n:,}" for n in sizes.values()], "share": shares})
    shown = [wrapped(label, text) for label, text in lines if text]
    return "\n".join([bold(f"{model.title} ({model.name})"), *shown, "", table.to_text()])


def _parameters(model: Model) -> str:
    total, active = model.total_parameters, model.active_parameters
    text = f"{total:,} ({show_count(total)})"
    text += f", of which {active:,} ({show_count(active)}) serve a token" if active != total else ""
    further = model.multi_token_parameters
    return text + (f"; {show_count(further)} more in heads that predict further tokens" if further else "")


def _stored(model: Model) -> str:
    """The formats that the checkpoint itself declares; "" where it declares none."""
    declared = model.quantization
    if declared is None:
        return ""
    words = {
        "weights": declared.weights,
        "activations": declared.activations,
        "cache": declared.kv,
        "LM head": declared.head,
    }
    told = ", ".join(f"{name} {word}" for name, word in words.items() if word)
    others = ", ".join(other.weights for other in declared.others)
    return told + (f"; parts in {others}" if others else "")


def _context(model: Model) -> str:
    reach = f", {model.extended_context:,} with RoPE scaling" if model.extended_context else ""
    return f"{model.max_context:,} tokens{reach}"


def _cache(model: Model) -> str:
    row = model_figures(model)
    state = f", and {row['state_bytes']:,} bytes of state whatever the length" if row["state_bytes"] else ""
    return f"{row['kv_cache_bytes_per_token']:,} bytes a token{state}, of one sequence in BF16"


def _layers(model: Model) -> list[str]:
    """Every block with the fields of its parts, and the order in which they run."""
    several = len(model.blocks) > 1
    lines = []
    for letter, block in zip(LETTERS, model.blocks, strict=False):
        parts = "; ".join(_fields(layer) for layer in block.layers)
        around = _words(block.model_dump(exclude_defaults=True, exclude=_PARTS))
        name = f"{letter}: " * several
        lines.append(f"{name}{block.repeat} × {parts}" + (f"; {around}" if around else ""))
    return [*lines, *([f"in the order {model.order}"] if model.order else [])]


def _fields(layer: Any) -> str:
    values = layer.model_dump(exclude_none=True, exclude_defaults=True)
    kind, words = values.pop("kind", ""), _words(values)
    return f"{kind} ({words})" if words else str(kind)


def _words(values: dict[str, Any]) -> str:
    """Fields as a person reads them: a flag by its name alone, sizes with their thousands."""
    words = []
    for name, value in values.items():
        plain = name.replace("_", " ")
        if isinstance(value, dict):
            words.append(f"{plain}: {_words(value)}")
        elif isinstance(value, (list, tuple)):
            words.append(
                f"{plain}: {len(value)} of them" if len(value) > 6 else f"{plain}: {' '.join(map(str, value))}"
            )
        elif isinstance(value, bool):
            words.append(plain if value else f"no {plain}")
        else:
            words.append(f"{plain} {value:,}" if isinstance(value, int) else f"{plain} {value}")
    return ", ".join(words)


def gpu_screen(gpu: GPU) -> str:
    """One GPU: every figure and its source."""
    figures = gpu_figures(gpu)
    known = list(dict.fromkeys(f["source"] for f in figures.values() if f["source"]))
    columns = {
        "figure": list(figures),
        "value": [_figure(f["value"], f["unit"]) for f in figures.values()],
        "source": [f"[{known.index(f['source']) + 1}]" if f["source"] else "unsourced" for f in figures.values()],
    }
    lines = [bold(f"{gpu.title} ({gpu.name}), {gpu.architecture}"), Table(columns).to_text(), ""]
    lines += [wrapped(f"[{i}]", source) for i, source in enumerate(known, 1)]
    lines += [wrapped("Note", note) for note in gpu.notes]
    return "\n".join([*lines, "", *_formats(gpu), "", *_calibration(gpu)])


WAYS = {
    "native": "as they are stored",
    "widened": "weights become 16 bits inside the product",
    "on request": "only widened, by --activations",
    "refused": "not at all",
}


def _formats(gpu: GPU) -> list[str]:
    """What the device multiplies in each format of weights."""
    found = ways(gpu)
    columns = {
        "weights": [way.weights for way in found],
        "inputs": [way.activations or "-" for way in found],
        "multiplied": [WAYS[way.way] for way in found],
        "peak": [f"{show_flops_per_s(way.flops)} ({way.compute})" if way.flops else "-" for way in found],
    }
    return [Table(columns).to_text()]


def _calibration(gpu: GPU) -> list[str]:
    """A line for every kernel and format that was measured on the GPU, and what holds for all others."""
    sources = [name if name == ALL else f"other {name} devices" for name in inherited(gpu)]
    from_others = f"from {', then from '.join(sources)}"
    if not any(map(holds_kernels, gpu.calibration.values())):
        told = f"no kernel was measured on this device: constants come {from_others}"
    else:
        told = "constants of measured kernels, with the median and 90th percentile of their errors on shapes not fitted"
        told += f"; what is missing comes {from_others}"
    lines = [wrapped("Calibration", told)]
    for library, block in gpu.calibration.items():
        lines += [bold(library), *_kernels(block)]
    return lines


def _kernels(block: Calibration) -> list[str]:
    rows = [(f"{name} {key}", entry) for name, by_key in block.kernels.items() for key, entry in by_key.items()]
    wide = max(len(name) for name, _ in rows)
    return [_kernel(f"  {name:<{wide}}", entry) for name, entry in rows]


def _kernel(name: str, entry: Kernel) -> str:
    """One line: the error first, then as many constants as there is room for."""
    constants = ", ".join(_constant(*constant) for constant in entry.constants.items())
    line = f"{name}  {entry.fit.median * 100:4.1f} / {entry.fit.p90 * 100:4.1f} %  {constants}"
    return line if len(line) <= width() else f"{line[: width() - 1]}…"


def _constant(name: str, value: float) -> str:
    if name.endswith("_s"):
        return f"{name.removesuffix('_s').replace('_', ' ')} {show_seconds(value) if value else '0 s'}"
    if name.endswith("limit") or name == "held":
        return f"{name.replace('_', ' ')} {show_bytes(value, 3)}"
    return f"{name.replace('_', ' ')} {value:.3g}"


def _figure(value: Any, unit: str) -> str:
    shows = {"bytes": show_bytes, "bytes/s": show_bytes_per_s, "FLOP/s": show_flops_per_s}
    if unit in shows:
        return shows[unit](value)
    if unit == "Hz":
        return f"{value / 1e6:,.0f} MHz"
    return f"{value:g} {unit}".strip() if isinstance(value, float) else f"{value} {unit}".strip()
