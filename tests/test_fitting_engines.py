"""Fitting engines: rows of end-to-end runs, the joint fit, and constants that come back from what they predicted."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perfmodel.errors import RequestError
from perfmodel.fitting import engines, free, silicon
from perfmodel.fitting.engines import EngineFit, fitted, problem
from perfmodel.fitting.joint import Free, Joint
from perfmodel.fitting.runs import expected, groups_of, phase
from perfmodel.published.predictions import predictions
from perfmodel.published.rows import Row

RUN = {
    "silicon_data_source": "db-dump/2026-04-27; config_id=1; measured=2026-04-17; vllm/vllm-openai:v0.19.0",
    "backend": "vllm", "backend_version": "0.19.0", "model_path": "meta-llama/Llama-3.1-70B", "system": "b200_sxm",
    "precision": "fp8", "mode": "agg", "isl": "1024", "osl": "1024", "gemm_quant_mode": "fp8",
    "moe_quant_mode": "fp8", "batch_size": "16", "tp_size": "2", "pp_size": "1", "attention_dp_size": "1",
    "moe_tp_size": "1", "moe_ep_size": "1", "decode_tp_size": "", "decode_num_workers": "", "silicon_ttft_ms": "95.5",
    "prefill_num_workers": "", "prefill_tp_size": "", "prefill_attention_dp_size": "", "prefill_moe_ep_size": "",
    "prefill_batch_size": "", "decode_pp_size": "", "decode_attention_dp_size": "", "decode_moe_ep_size": "",
    "silicon_tpot_ms": "14.2",
}  # fmt: skip


@pytest.fixture
def rows_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def write(*changes: dict[str, str]) -> list[Row]:
        with (tmp_path / silicon.FILE).open("w", newline="") as out:
            writer = csv.DictWriter(out, list(RUN))
            writer.writeheader()
            writer.writerows(RUN | change for change in changes)
        return silicon.silicon_rows()

    monkeypatch.setattr(silicon, "root", lambda: tmp_path)
    monkeypatch.setattr(silicon, "package_version", lambda: "0")
    return write


# ── runs ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_is_two_rows_that_can_be_predicted(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    first, step = rows_of_runs({})
    assert (first.metric, step.metric) == ("ttft_ms", "tpot_ms")
    assert (first.gpu, first.n_gpus, first.tp, first.batch_or_concurrency) == ("b200", 2, 2, 16)
    assert (first.prompt_tokens, first.output_tokens) == (922, 922), "lengths are drawn: their mean"
    assert (first.weight_dtype, first.kv_dtype, first.quality) == ("fp8", "fp8", "ok")
    assert not any(p.reason for p in predictions([first, step]))


def test_nvidias_own_runs_have_fixed_lengths(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    row, _ = rows_of_runs({"silicon_data_source": "source_file=/x/Qwen_Qwen3-32B.csv; silicon_concurrency=16"})
    assert (row.source_id, row.prompt_tokens, row.kv_dtype) == ("NVIDIA", 1024, "")


@pytest.mark.parametrize(
    ("change", "quality", "said"),
    [
        ({"silicon_ttft_ms": "99999"}, "queueing", "requests mostly wait"),
        ({"system": "gb200", "precision": ""}, "suspect", "format of the weights"),
        ({"backend": "trtllm", "backend_version": "1.2.0rc6.post3", "model_path": "deepseek-ai/DeepSeek-R1"},
         "suspect", "guesses tokens ahead"),
    ],
)  # fmt: skip
def test_doubts_are_told(rows_of_runs, change, quality, said) -> None:  # type: ignore[no-untyped-def]
    row, _ = rows_of_runs(change)
    assert row.quality == quality
    assert said in row.note


def test_a_run_in_two_sources_counts_once(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    again = {"silicon_data_source": "source_file=2026-04-06.csv; measured=2026-04-17", "silicon_tpot_ms": "14.21"}
    rows = rows_of_runs({}, again)
    assert [row.quality for row in rows] == ["ok", "ok", "suspect", "suspect"]
    assert "same run as line 2" in rows[2].note


def test_runs_that_contradict_each_other_are_both_doubted(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of_runs({}, {"silicon_tpot_ms": "7.1"})
    assert {row.quality for row in rows} == {"suspect"}


def test_what_is_not_modelled_yet_has_its_reason(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    rows = rows_of_runs({"mode": "disagg"}, {"moe_ep_size": "8"}, {"attention_dp_size": "4"})
    assert silicon.unasked(rows[0]) == "pools of workers are predicted, not fitted"
    assert rows[2].note.startswith("EP8")
    assert rows[4].batch_or_concurrency == 64, "the file has requests of each replica of the attention"
    groups, left_out = groups_of(rows)
    assert {group.plan.dp for group in groups} == {4}  # of a model without experts: replicas
    assert sum(left_out.values()) == 4


# ── the joint fit ────────────────────────────────────────────────────────────────────────────────


def joint(free: dict[str, Free], truth: dict[str, float], seed: int = 0) -> Joint:
    """Two groups: a·x + b, and b·x; measured with a little noise."""
    x = np.linspace(1, 20, 40)
    names = [("a", "b"), ("b",)]

    def predict(i: int, c):  # type: ignore[no-untyped-def]
        return c["a"] * x + c["b"] if i == 0 else c["b"] * x

    noise = np.exp(np.random.default_rng(seed).normal(0, 0.01, (2, 40)))
    measured = [predict(i, truth) * noise[i] for i in range(2)]
    return Joint(free, predict, names, measured, np.ones(80))


def test_constants_come_back() -> None:
    problem = joint({"a": Free(1.0, 2.0), "b": Free(1.0, 2.0)}, {"a": 3.0, "b": 0.4})
    found = problem.values(problem.fitted().x)
    assert found == pytest.approx({"a": 3.0, "b": 0.4}, rel=0.02)


def test_a_constant_that_nothing_moves_stays_at_its_prior() -> None:
    problem = joint({"a": Free(1.0, 2.0), "b": Free(1.0, 2.0), "c": Free(7.0, 1.0)}, {"a": 3.0, "b": 0.4})
    assert problem.values(problem.fitted().x)["c"] == pytest.approx(7.0)


def test_limits_hold() -> None:
    problem = joint({"a": Free(1.0, 2.0, 0.5, 2.0), "b": Free(1.0, 2.0)}, {"a": 3.0, "b": 0.4})
    assert problem.values(problem.fitted().x)["a"] == pytest.approx(2.0)


def test_rows_left_out_are_predicted_without_them() -> None:
    problem = joint({"a": Free(1.0, 0.1), "b": Free(1.0, 2.0)}, {"a": 3.0, "b": 0.4})
    best = problem.fitted()
    out = np.arange(80) < 40
    logs = problem.without(best, out)
    assert np.isfinite(logs[:40]).all()
    assert np.isnan(logs[40:]).all()
    # nothing else tells a, which falls back on its prior of 1; b is known from the other group
    assert np.exp(logs[39]) == pytest.approx(1.0 * 20 + 0.4, rel=0.02)


def test_the_fit_is_the_same_in_every_run() -> None:
    free = {"a": Free(1.0, 2.0), "b": Free(1.0, 2.0)}
    first, again = (joint(free, {"a": 3.0, "b": 0.4}).fitted().x for _ in range(2))
    assert (first == again).all()


# ── engines ──────────────────────────────────────────────────────────────────────────────────────


def asked_rows() -> list[Row]:
    """A few settings of two models on two devices, static and under load."""
    blank = Row(
        2, "X", "vllm", "0.12", "llama3.1-8b", "h100", 1, 1, 1, "bf16", "", "", 1024, 256, 1, "fixed_batch",
        "tpot_ms", 1.0, "ms", "", "ok",
    )  # fmt: skip
    return [
        replace(blank, model=model, gpu=gpu, batch_or_concurrency=batch, metric=metric, mode=mode)
        for model in ("llama3.1-8b", "qwen3-14b")
        for gpu in ("h100", "h200")
        for batch in (1, 8, 64)
        for metric in ("ttft_ms", "tpot_ms")
        for mode in ("fixed_batch", "concurrency")
    ]


@pytest.fixture(scope="module")
def fit() -> tuple[dict[str, float], EngineFit]:
    """Rows made with known constants, and what the fit makes of them."""
    rows = asked_rows()
    groups, _ = groups_of(rows)
    made = problem(groups, 1)
    truth = {name: free.prior for name, free in made.free.items()}
    truth |= {"vllm 0.8+.layer_s": 30e-6, "vllm 0.8+.pass_s": 1.5e-3, "vllm 0.8+.memory": 0.9}
    measured = []
    for i, group in enumerate(groups):
        figures = made.predict(i, {name: truth[name] for name in made.names[i]})
        measured += [replace(q.row, value=float(v)) for q, v in zip(group.asked, figures, strict=True)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engines, "ALIKE", 0.1)  # exact figures: let them outweigh the priors
        return truth, fitted(measured)


def test_an_engines_time_comes_back(fit: tuple[dict[str, float], EngineFit]) -> None:
    truth, found = fit
    whole = {n: truth[f"vllm 0.8+.{n}"] for n in ("layer_s", "pass_s")}
    layers = 36  # between the two models' 32 and 40
    said = found.engines["vllm 0.8+"]
    assert layers * said["layer_s"] + said["pass_s"] == pytest.approx(
        layers * whole["layer_s"] + whole["pass_s"], rel=0.15
    )


def test_rows_that_the_model_made_are_fitted_closely(fit: tuple[dict[str, float], EngineFit]) -> None:
    _, found = fit
    seen = [s for s in found.scores if s.unseen == "nothing" and s.engine == "all"]
    assert {s.phase for s in seen} == {"prefill", "decode", "prefill under load", "decode under load"}
    assert max(s.errors.median for s in seen) < 0.05
    assert all(s.spread >= 1 for s in found.scores)
    assert {s.unseen for s in found.scores} >= {"nothing", "setting", "device", "model"}


def test_the_fit_can_be_told(fit: tuple[dict[str, float], EngineFit]) -> None:
    import json

    _, found = fit
    assert "vllm 0.8+ (48 rows)" in found.text()
    assert json.loads(json.dumps(found.to_dict()))["rows"] == 48


def test_priors_are_of_engines_and_overheads_that_exist() -> None:
    from perfmodel.engine import ENGINES, Overheads, generations

    known = {f"{e.name} {e.generation}".strip() for name in ENGINES for e in generations(name)}
    assert set(free.PRIORS) <= known
    for prior in (*free.PRIORS.values(), free.OTHER):
        assert set(prior) <= set(Overheads.__slots__)


def test_phases_tell_prefill_from_decode() -> None:
    groups, _ = groups_of(asked_rows())
    assert {phase(q) for g in groups for q in g.asked if g.loaded is None} == {"prefill", "decode"}


@pytest.mark.parametrize(
    ("written", "split"),
    [
        # tp_size, attention_dp_size, moe_tp_size, moe_ep_size as they stand → tp, dp, ep as they were run
        (("8", "1", "1", "8"), (8, 1, 8)),
        (("64", "1", "8", "8"), (8, 1, 8)),
        (("1", "8", "1", "8"), (1, 8, 8)),
        (("1", "64", "8", "8"), (1, 8, 8)),
        (("4", "4", "1", "16"), (4, 1, 4)),
        (("2", "1", "2", "1"), (2, 1, 1)),
    ],
)
def test_splits_are_those_that_were_run(rows_of_runs, written: tuple[str, ...], split: tuple[int, ...]) -> None:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size")
    row, _ = rows_of_runs(dict(zip(names, written, strict=True)))
    assert (row.tp, row.dp, row.ep, row.n_gpus) == (*split, split[0] * split[1])


def test_one_run_under_two_splits_is_the_same_run(rows_of_runs) -> None:
    names = ("tp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size", "batch_size")
    twice = [dict(zip(names, w, strict=True)) for w in (("1", "8", "1", "8", "16"), ("1", "64", "8", "8", "2"))]
    first, _, second, _ = rows_of_runs(*twice)
    assert first.batch_or_concurrency == second.batch_or_concurrency == 128
    assert "the same run as line 2" in second.note
    assert first.quality == "ok"


# ── servers under load ───────────────────────────────────────────────────────────────────────────


def test_recipes_stand_in_the_notes(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    """What InferenceX's launch scripts set, and how NVIDIA's own requests end."""
    gathers, _ = rows_of_runs({"backend": "trtllm"})
    assert "prompts gather for 20 steps or 14746 tokens" in gathers.note
    assert "passes of at most 16384 tokens" in gathers.note
    wide, _ = rows_of_runs({"backend": "trtllm", "tp_size": "8"})
    assert "gather" not in wide.note
    polls, _ = rows_of_runs({"backend": "sglang"})
    assert "requests are taken in every 30 steps" in polls.note
    own = {"silicon_data_source": "source_file=/x/Qwen_Qwen3-32B.csv; silicon_concurrency=16"}
    apart, _ = rows_of_runs(own)
    assert "outputs end apart" in apart.note
    together, _ = rows_of_runs(own | {"backend": "sglang"})
    assert "apart" not in together.note


def test_runs_are_simulated_as_their_notes_say(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    eager, patient = (
        {p.row.metric: p.expected for p in predictions(rows_of_runs({"backend": "trtllm", "isl": isl}))}
        for isl in ("1025", "1024")
    )
    assert patient["ttft_ms"] > 1.5 * eager["ttft_ms"], "a prompt of 1,024 tokens gathers, one of 1,025 does not"


def test_a_fit_follows_the_simulation(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    """Rescheduled means are those of the simulation at its own constants, and move with others."""
    rows = rows_of_runs({}, {"batch_size": "64"})
    groups, _ = groups_of(rows)
    (group,) = groups
    told = {(p.row.line, p.row.metric): p.expected for p in predictions(rows)}
    again = expected(group, group.plan)
    for q, value in zip(group.asked, again, strict=True):
        assert value == pytest.approx(told[q.row.line, q.row.metric], rel=1e-6)
    slower = replace(group.plan, gpu=group.plan.gpu.model_copy(update={"memory_bandwidth": 4e12}))
    assert (expected(group, slower) > again).all()


def test_serving_is_held_against_runs(rows_of_runs, run, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    rows_of_runs({}, {"model_path": "deepseek-ai/DeepSeek-V3", "batch_size": "8", "tp_size": "8"})
    from perfmodel.fitting import loaded

    monkeypatch.setattr(loaded, "package_version", lambda: "0")
    assert loaded.compared("aiconfigurator", "metric").chosen.rows
    dense = loaded.rows_from("aiconfigurator", "dense", "ok").rows
    experts = loaded.rows_from("aiconfigurator", "experts", "ok").rows
    assert {r.model for r in dense} == {"Llama-3.1-70B"}
    assert len(dense) == len(experts) == 2
    with pytest.raises(RequestError, match="did you mean experts"):
        loaded.rows_from("aiconfigurator", "expert", "ok")
    with pytest.raises(RequestError, match="--from: nothing is called"):
        loaded.rows_from("splitwise", None, "ok")
    assert "Errors by metric" in run("validate", "serving", "--by", "metric").out


POOLS = {
    "mode": "disagg", "prefill_num_workers": "2", "prefill_tp_size": "2", "prefill_attention_dp_size": "1",
    "prefill_moe_ep_size": "1", "prefill_batch_size": "4", "decode_num_workers": "1", "decode_tp_size": "4",
    "decode_pp_size": "1", "decode_attention_dp_size": "1", "decode_moe_ep_size": "1", "batch_size": "",
    "silicon_data_source": "db-dump/2026-04-27; silicon_concurrency=32; measured=2026-04-17",
}  # fmt: skip


def test_pools_are_predicted_where_their_workers_are_recorded(rows_of_runs) -> None:  # type: ignore[no-untyped-def]
    first, step = rows_of_runs(POOLS)
    assert (first.mode, first.tp, first.n_gpus, first.batch_or_concurrency) == ("disaggregated", 4, 4, 32)
    assert "2 prefill workers of tp 2 dp 1 ep 1, 4 prompts a pass, 1 decode workers" in first.note
    told = predictions([first, step])
    assert not any(p.reason for p in told)
    together = predictions(rows_of_runs({"batch_size": "32", "tp_size": "4"}))
    assert told[1].expected < together[1].expected, "no prompt interrupts a decode worker"
    unknown, _ = predictions(rows_of_runs(POOLS | {"prefill_num_workers": ""}))
    assert unknown.reason == "how many workers prefill and decode is not recorded"
