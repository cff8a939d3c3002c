"""The same lines serve one number and a million: an array call equals the stacked scalar calls."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import pytest

from perfmodel.batch import Batch, View
from perfmodel.calibration import Constants
from perfmodel.catalog import load_gpu, load_model
from perfmodel.collectives import SENT_BYTES, sent_bytes
from perfmodel.deployment import Deployment, precision_for
from perfmodel.expected import expected_s
from perfmodel.forward import forward
from perfmodel.huggingface import model_from_config
from perfmodel.latency import latency
from perfmodel.memory import memory
from perfmodel.model import Model
from perfmodel.op import totals
from perfmodel.roofline import bound_s
from perfmodel.workload import Workload

B = np.array([1.0, 7.0, 64.0])[:, None, None]
T = np.array([1.0, 100.0, 9000.0])[None, :, None]
S = np.array([0.0, 33.0, 20000.0])[None, None, :]
FORMS: tuple[dict[str, Any], ...] = (
    {"model": "llama3-8b"},
    {"model": "mistral-7b-v0.1"},
    {"model": "gemma-2b", "attention": "naive"},
    {"model": "llama3-70b", "tp": 4, "pp": 2},
    {"model": "qwen3-8b", "cache": False},
    {"model": "config:gemma3n_text"},
    {"model": "config:deepseek_v32", "tp": 8},
    {"model": "config:llama4_text", "routing_skew": 0.7},
    {"model": "config:qwen3_next"},
    {"model": "config:jamba", "pp": 2},
    {"model": "config:falcon_h1"},
    {"model": "config:zamba"},
)


def plan_of(form: dict[str, Any]) -> Deployment:
    gpu = load_gpu("h100")
    more = {name: value for name, value in form.items() if name != "model"}
    return Deployment(model_of(form["model"]), gpu, precision_for(gpu), **more)


def model_of(name: str) -> Model:
    """A model of the catalog, or the default config of a model_type."""
    if not name.startswith("config:"):
        return load_model(name)
    return model_from_config({"model_type": name.removeprefix("config:")}, name)


def stacked(function: Any) -> Any:
    """`function` of every combination of plain ints, as an array."""
    axes = [[int(n) for n in axis.ravel()] for axis in (B, T, S)]
    return np.array([[[function(b, t, s) for s in axes[2]] for t in axes[1]] for b in axes[0]], dtype=np.float64)


def same(array: Any, function: Any) -> None:
    np.testing.assert_allclose(np.broadcast_to(array, (3, 3, 3)), stacked(function), rtol=1e-12)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_counts(form: dict[str, Any]) -> None:
    plan = plan_of(form)
    arrays = totals(forward(plan, Batch.prefill(B, T, S)))
    for field in fields(arrays):
        same(
            getattr(arrays, field.name),
            lambda *size, n=field.name: getattr(totals(forward(plan, Batch.prefill(*size))), n),
        )


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_times_of_ops(form: dict[str, Any]) -> None:
    plan = plan_of(form)
    c = Constants(plan.gpu, plan.engine)
    for i, op in enumerate(forward(plan, Batch.prefill(B, T, S))):
        same(bound_s(op, plan.gpu), lambda *size, i=i: bound_s(forward(plan, Batch.prefill(*size))[i], plan.gpu))
        same(
            expected_s(op, c),
            lambda *size, i=i: expected_s(forward(plan, Batch.prefill(*size))[i], c),
        )


# every kind of term is in these; the rest would only take long
@pytest.mark.parametrize("form", [*FORMS[:5], *FORMS[-2:]], ids=str)
def test_memory_and_latency(form: dict[str, Any]) -> None:
    plan = plan_of(form)
    arrays = Workload(prompt=T, output=S + 1, batch=B)
    held, times = memory(plan, arrays), latency(plan, arrays)
    same(held.used, lambda b, t, s: memory(plan, Workload(t, s + 1, b)).used)
    for phase in ("ttft", "tpot", "e2e"):
        for end in ("bound", "low", "expected", "high", "compute", "overhead"):
            same(
                getattr(getattr(times, phase), end),
                lambda b, t, s, p=phase, e=end: getattr(getattr(latency(plan, Workload(t, s + 1, b)), p), e),
            )


def test_batches() -> None:
    for name in ("sequences", "tokens", "head_rows"):
        same(getattr(Batch.prefill(B, T, S), name), lambda *size, n=name: getattr(Batch.prefill(*size), n))
    for window in (View(), View(1), View(40), View(5000), View(chunk=7), View(chunk=5000)):
        same(Batch.prefill(B, T, S).pairs(window), lambda *size, w=window: Batch.prefill(*size).pairs(w))
        same(Batch.prefill(B, T, S).cached(window), lambda *size, w=window: Batch.prefill(*size).cached(w))


@pytest.mark.parametrize("operation", SENT_BYTES)
def test_collectives(operation: str) -> None:
    same(sent_bytes(operation, B * T, 4), lambda b, t, s: sent_bytes(operation, b * t, 4))


def test_scalars_stay_exact_beyond_two_to_the_53() -> None:
    plan = plan_of({"model": "llama3-70b"})
    got = totals(forward(plan, Batch.prefill(512, 131_072)))
    assert isinstance(got.matmul_flops, int)
    linear = 2 * 512 * 131_072 * 80 * (8192 * 8192 * 2 + 2 * 8192 * 1024 + 3 * 8192 * 28672)
    attention = 80 * 4 * 512 * (131_072 * 131_073 // 2) * 64 * 128
    assert got.matmul_flops == linear + attention + 2 * 512 * 8192 * 128256 > 2**63
