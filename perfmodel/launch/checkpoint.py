"""Which weights a server loads: a name on the Hub where one is known for them, else a place to fill in.

No repository is made up: perfmodel knows those that its model files name, in the format that their publisher stored.
"""

from __future__ import annotations

from perfmodel.deployment import Deployment
from perfmodel.launch.flags import numbers
from perfmodel.launch.sheet import Sheet, blank
from perfmodel.model import Model
from perfmodel.precision import STREAMS

TUNED = ("-instruct", "-it", "-chat", "-chat-hf")
"""Endings of repositories that follow instructions, which chat endpoints need."""
PRUNED = "as --prune asked"
"""What a model's notes say where its sizes are not those of its repository (perfmodel.scaling.pruned)."""
_FP8 = ("fp8", "fp8-tensor", "fp8-tensor-dynamic", "fp8-tensor16", "fp8-tensor16-dynamic", "fp8-row", "fp8-row16")
# (tool, method, formats, since, until): methods that quantize 16-bit weights while they are loaded. vLLM: names of
# vllm/model_executor/layers/quantization/__init__.py, and docs/features/quantization/online.md ("fp8_per_tensor",
# which "fp8" was before); bitsandbytes (docs/features/quantization/bnb.md) is no method of 0.33.0. SGLang:
# QUANTIZATION_CHOICES ("fp8: MOE + linear online quantization") and docs/advanced_features/quantization.md.
_AT_LOAD: tuple[tuple[str, str, tuple[str, ...], tuple[int, ...], tuple[int, ...]], ...] = (
    ("vllm", "fp8_per_tensor", _FP8, (0, 24), ()),
    ("vllm", "fp8_per_block", ("fp8-block",), (0, 24), ()),
    ("vllm", "fp8", _FP8, (), (0, 24)),
    ("vllm", "bitsandbytes", ("nf4",), (), (0, 33)),
    ("sglang", "fp8", _FP8, (), ()),
    ("sglang", "bitsandbytes", ("nf4",), (), ()),
)


def hub_id(model: Model) -> str | None:
    """A repository of the model: one that follows instructions where its file names one; None where it names none."""
    tuned = [name for name in model.hub if name.lower().endswith(TUNED)]
    return next(iter((*tuned, *model.hub)), None)


def loaded(plan: Deployment, sheet: Sheet, given: str | None) -> str:
    """What the server loads; a method that quantizes it on the way is written where there is one (--quantization)."""
    sheet.weights = _source(plan, sheet, given)
    return sheet.weights


def _source(plan: Deployment, sheet: Sheet, given: str | None) -> str:
    stored, model = plan.precision.weights.name, plan.model
    declared = model.quantization.weights if model.quantization else None
    if given is not None:
        if stored not in STREAMS and stored != declared:
            sheet.note(f"{given} must hold weights in {stored}: the engine reads their format from the checkpoint")
        return given
    if any(PRUNED in note for note in model.notes):
        sheet.lack("--prune: no published checkpoint has these sizes")
        return _unnamed(model.name, "", sheet)
    source = hub_id(model) or _unnamed(model.name, "", sheet)
    if stored == declared or (declared is None and stored in STREAMS):
        return source
    method = None if declared else at_load(sheet.tool, stored, sheet.version)
    if method is None:
        return _unnamed(model.name, stored, sheet)
    sheet.add("--quantization", method)
    sheet.note(
        f"--quantization {method} quantizes 16-bit weights while they are loaded; a checkpoint that is stored in "
        f"{stored} loads faster and needs no such flag (--checkpoint)"
    )
    return source


def at_load(tool: str, stored: str, version: str) -> str | None:
    """The method by which an engine quantizes 16-bit weights to the format as it loads them; None where it has none."""
    at = numbers(version)
    return next(
        (
            method
            for name, method, formats, since, until in _AT_LOAD
            if name == tool and stored in formats and since <= at and (not until or at < until)
        ),
        None,
    )


def _unnamed(model: str, stored: str, sheet: Sheet) -> str:
    kept = f"weights of {model}" + (f" in {stored}" if stored else "")
    sheet.note(f"which repository or folder has the {kept} is not known here: name it with --checkpoint")
    return blank(kept)
