"""`perfmodel sweep` from the command line: what it prints, what it refuses, what an interrupt leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import perfmodel as pm

GRID = ("sweep", "-m", "llama3-8b,llama3-70b", "-g", "h100,h200", "--tp", "1,2,3", "--batch", "1:64:x4")


def test_the_best_rows_counts_and_reasons(run) -> None:
    done = run(*GRID, "--top", "3")
    assert done.code == 0
    table = pm.sweep(["llama3-8b", "llama3-70b"], ["h100", "h200"], tp=[1, 2, 3], batch=[1, 4, 16, 64]).to_frame()
    lines = done.out.splitlines()
    assert lines[0] == f"48 cases: {table['fits'].sum()} fit, {(~table['fits']).sum()} do not"
    assert "model (2) × gpu (2) × tp (3) × batch (4)" in lines[1]
    assert "8 tp 3 does not split llama3-8b" in done.out
    assert "The 3 with the lowest cost_per_mtok_usd" in done.out
    best = table[table["fits"]].sort_values("usd_per_million_tokens").head(3)
    start = next(i for i, line in enumerate(lines) if line.startswith("model "))
    shown = [line.split()[:4] for line in lines[start + 1 : start + 4]]
    wanted = [[row["model"], row["gpu"], str(row["tp"]), str(row["batch"])] for _, row in best.iterrows()]
    assert shown == wanted
    assert all(len(line) <= 100 for line in lines)


def test_it_is_readable_on_a_narrow_terminal(run, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "70")
    assert all(len(line) <= 70 for line in run(*GRID).out.splitlines())


def test_sorting_and_conditions(run) -> None:
    done = run(*GRID, "--sort", "tokens_per_s", "--where", "ttft_ms<1000", "--where", "gpu=h200", "--json")
    found = json.loads(done.out)
    rates = [row["tokens_per_s"] for row in found["rows"]]
    assert rates == sorted(rates, reverse=True)
    assert {row["gpu"] for row in found["rows"]} == {"h200"}
    assert all(row["ttft_s"] < 1 for row in found["rows"])
    assert found["cases"] == 48
    assert found["rows_kept"] >= found["fitting"] == len(rates)
    assert found["study"]["axes"]["tp"] == [1, 2, 3]


def test_csv_prints_every_row(run) -> None:
    done = run(*GRID, "--csv")
    sweep = pm.sweep(["llama3-8b", "llama3-70b"], ["h100", "h200"], tp=[1, 2, 3], batch=[1, 4, 16, 64])
    assert done.out == sweep.to_csv()
    few = run(*GRID, "--csv", "--columns", "gpu,tp,ttft_ms", "--fits-only")
    assert few.out.splitlines()[0] == "gpu,tp,ttft_s"


def test_rows_are_in_the_order_of_the_flags(run) -> None:
    out = run("sweep", "--tp", "2,1", "-g", "h200,h100", "-m", "llama3-8b", "--csv", "--columns", "tp,gpu").out
    assert out.split() == ["tp,gpu", "2,h200", "2,h100", "1,h200", "1,h100"]


def test_a_flag_may_be_repeated_and_values_may_hold_commas(run) -> None:
    out = run(
        "sweep", "-m", "llama3-70b", "-g", "h200", "--tp", "8", "--prune", "layers=40,hidden=4096", "--prune", "none",
        "--no-kv-cache", "off", "--speculate", "ngram", "--acceptance", "0.8,0.7", "--csv", "--columns", "prune,fits",
    ).out  # fmt: skip
    assert out == 'prune,fits\n"layers=40,hidden=4096",True\n,True\n'


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("-m", "llama3-8b"), 2, "needs a gpu: --gpu, like h100"),
        (("-m", "lama3-8b", "-g", "h100"), 2, "Did you mean llama3-8b"),
        (("-m", "llama3-8b", "-g", "h100", "--batch", "1:64:8"), 2, "needs a step"),
        (("-m", "llama3-8b", "-g", "h100", "--kv", "bf16,fp9"), 2, 'did you mean "fp8"'),
        (("-m", "llama3-8b", "-g", "h100", "--tp", "3"), 2, "tp 3 does not split llama3-8b"),
        (("-m", "llama3-8b", "-g", "h100", "--tp", "3,5"), 2, "None of 2 cases can be"),
        (("-m", "llama3-8b", "-g", "h100", "--sort", "gpu"), 2, "is a word"),
        (("-m", "llama3-8b", "-g", "h100", "--sort", "tft_s"), 2, 'did you mean "ttft_s"'),
        (("-m", "llama3-8b", "-g", "h100", "--top", "0"), 2, "--top"),
        (("-m", "llama3-8b", "-g", "h100", "--where", "ttft_ms"), 2, "needs a column, a comparison"),
        (("-m", "llama3-8b", "-g", "h100", "--where", "ttft_ms<fast"), 2, "is a number"),
        (("-m", "llama3-8b", "-g", "h100", "--where", "gpu<h100"), 2, "is a word"),
        (("-m", "llama3-8b", "-g", "h100", "--resume"), 2, "name it by --out"),
        (("-m", "llama3-8b", "-g", "h100", "--csv", "--json"), 2, "--csv prints every row"),
        (("-m", "llama3-8b", "-g", "h100", "--out", "x.xls"), 2, "must end in .csv"),
        (("-m", "llama3-8b", "-g", "h100", "--scheduler", "here"), 2, "needs an address"),
        (("-m", "llama3-8b", "-g", "h100", "--jobs", "x"), 2, "whole number"),
        (("no-such.yaml",), 2, "no-such.yaml: cannot be read"),
        (("-m", "llama3-8b", "-g", "h100", "--where", "ttft_ms<1"), 1, "none of them with ttft_ms<1"),
        (("-m", "llama3-70b", "-g", "l4", "--tp", "1,2"), 1, "None of 2 cases fits; the nearest: llama3-70b"),
    ],
)
def test_wrong_questions_and_noes_are_one_sentence(run, arguments, code, told, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("sweep", *arguments)
    assert done.code == code
    assert told in done.err
    lines = done.err.splitlines()
    assert len(lines) == 1 or (code == 1 and all("what would work" in line for line in lines[1:]))


def test_what_would_work_is_named(run) -> None:
    done = run("sweep", "-m", "llama3-70b", "-g", "l4", "--tp", "1,2", "--batch", "1,8")
    assert "what would work: --tp 8 (8 GPUs) holds it" in done.err
    unmet = run(*GRID, "--where", "ttft_ms<1", "--where", "tokens_per_s>1e9")
    assert "at least" in unmet.err
    assert "for tokens_per_s alone" in unmet.err


def test_a_study_file_with_flags_over_it(run, tmp_path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("model: llama3-8b\ngpu: [h100, h200]\ntp: [1, 2]\nsort: ttft_ms\ntop: 1\n", encoding="utf-8")
    done = run("sweep", str(file), "--tp", "4")
    assert "The lowest ttft_ms" in done.out
    assert "gpu (2)" in done.out
    assert "tp 4" in done.out


def test_own_specs_are_found(run, tmp_path) -> None:
    (tmp_path / "hardware").mkdir()
    text = (Path(__file__).parent.parent / "hardware" / "h100.yaml").read_text(encoding="utf-8")
    (tmp_path / "hardware" / "zzz-mine.yaml").write_text(re.sub("aliases: .*\n", "", text), encoding="utf-8")
    study = tmp_path / "study.yaml"
    study.write_text("path: .\nmodel: llama3-8b\ngpu: zzz-mine\ntp: [1, 2]\n", encoding="utf-8")
    command = [sys.executable, "-m", "perfmodel", "sweep", str(study), "--csv", "--jobs"]
    outs = [subprocess.run([*command, jobs], capture_output=True, text=True, cwd=tmp_path) for jobs in ("1", "2")]
    assert [done.returncode for done in outs] == [0, 0], outs[1].stderr
    assert outs[0].stdout == outs[1].stdout
    assert "zzz-mine" in outs[0].stdout


@pytest.mark.slow
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupt_keeps_what_is_finished(jobs, tmp_path) -> None:
    arguments = (
        *("sweep", "-m", "llama3-8b,llama3-70b", "-g", "h100,h200", "--tp", "1,2,4,8", "--batch", "1:256"),
        *("--prompt", "128:8192:+128", "--output", "16:256:+16", "--out", "grid.parquet", "--jobs", jobs),
    )
    command = [sys.executable, "-m", "perfmodel", *arguments]
    running = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    parts = tmp_path / "grid.parquet.parts"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        if parts.is_dir() and any(path.name.isdecimal() for path in parts.iterdir()):
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)
    _, told = running.communicate(timeout=120)
    assert running.returncode == 130
    assert jobs == "2" or "Traceback" not in told  # a process that is being born may still cry out
    assert (
        "perfmodel: interrupted; finished parts lie in grid.parquet.parts, and the same command with --resume goes on."
        in told.splitlines()
    )
    assert not (tmp_path / "grid.parquet").exists()
    kept = [path for path in parts.iterdir() if path.name.isdecimal()]
    assert kept
    # the last part of many would take as long as all: it is enough that they are taken up
    done = subprocess.run([*command, "--tp", "3", "--resume"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "another sweep" in done.stderr
