"""Experts' exchanges: constants of DeepEP's kernels, from tables of single calls.

Tokens on their way to the experts that they chose (dispatch), and results back (combine). An engine takes the kernels
of low latency for few tokens and those of high throughput for many: of each size the quicker one is fitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from perfmodel.fitting.collective import LONGEST, Rows, bandwidth_of, complete, link_of
from perfmodel.fitting.fit import SHARE, Case, Errors, Start, fitted, folds, rests_on, unseen
from perfmodel.fitting.tables import LIBRARIES, table
from perfmodel.layers.dispatch import Experts, destinations

ELEMENT = {"default": 2, "bfloat16": 2, "fp8": 1, "nvfp4": 0.5625, "fp4": 0.5625}
"""Bytes of an element that is sent to experts; results come back in 16 bits."""
CALL = ["num_tokens", "topk", "hidden_size", "num_experts", "ep_size", "comm_dtype"]
FIXED = {"step_s": 0.0, "fill": 1.0}
START = {"start_s": Start(5e-5), "share": Start(0.5, SHARE, pull=4.0), "fill_s": Start(2e-5, pull=2.0)}


def exchange_rows(device: str, engine: str) -> Iterator[tuple[str, str, Rows, Any]]:
    """("dispatch 8", version, rows, shapes) of the tables of one engine, whose column `latency` is in µs here.

    `size` is what a device holds for others: M tokens, each as often as its experts lie on different devices.
    """
    found = table(device, "comm", engine, "moe_a2a_perf")
    if found is None:
        return
    version, frame = found
    frame = frame[frame["comm_dtype"].isin(ELEMENT)]
    for phase, calls in frame.groupby("phase"):
        one = calls.groupby(CALL, as_index=False)["latency"].min()
        counted = zip(one["num_experts"], one["topk"], one["ep_size"], strict=True)
        copies = np.array([destinations(Experts(int(e), int(k), int(n))) for e, k, n in counted])
        element = one["comm_dtype"].map(ELEMENT) if phase == "dispatch" else 2
        size = one["num_tokens"] * copies * one["hidden_size"] * element
        shapes = np.array([f"{h} {k}" for h, k in zip(one["hidden_size"], one["topk"], strict=True)])
        rows = Rows(str(phase), bandwidth_of(device), size, one["ep_size"], one["latency"] * 1e-6)
        kept = rows.size <= LONGEST
        yield f"{phase} {int(one['ep_size'].max())}", version, rows.part(kept), shapes[kept]


def exchange_constants(rows: Rows) -> dict[str, float]:
    """A start and a share of the link, and what lies between them."""
    return FIXED | fitted(lambda c: rows.predicted({**FIXED, **c}), rows.seconds, START)


def fits(device: str) -> dict[str, dict[str, dict[str, Any]]]:
    """engine → "dispatch ≤ranks" → constants and what they rest on; hidden sizes and choices held out."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for engine in LIBRARIES:
        for name, version, rows, shapes in exchange_rows(device, engine):
            predicted = unseen(rows, folds(list(shapes)), exchange_constants)
            known = np.isfinite(predicted)
            errors = Errors.of(predicted[known], rows.seconds[known])
            found.setdefault(engine, {})[name] = complete(exchange_constants(rows)) | rests_on(
                version, len(rows), errors
            )
    return found


def cases(device: str) -> Iterator[Case]:
    """Every exchange of a device."""
    for engine in LIBRARIES:
        for name, version, rows, _ in exchange_rows(device, engine):
            yield Case.of(engine, "exchange", f"{link_of(device)} {name}", version, rows)
