"""`calibration:` blocks that somebody got wrong: one sentence with the file, the field, the value, the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from perfmodel.catalog import data_folder, load_gpu
from perfmodel.errors import SpecError

CONSTANTS = "{launch_s: 3.0e-06, compute: 0.9, memory: 0.9, step_s: 6.0e-08}"
FIT = "{data: by hand 1, date: 2026-11-21, points: 5, median: 0.04, p90: 0.1}"


def file_with(folder: Path, block: str) -> str:
    datasheet = (data_folder("hardware") / "t4.yaml").read_text(encoding="utf-8").partition("calibration:")[0]
    file = folder / "mine.yaml"
    file.write_text(f"{datasheet.rstrip()}\n{block}\n", encoding="utf-8")
    return str(file)


def block(kernel: str = "gemm", constants: str = CONSTANTS, fit: str = FIT) -> str:
    entry = f"          constants: {constants}\n          fit: {fit}"
    return f"calibration:\n  vllm:\n    kernels:\n      {kernel}:\n        bf16:\n{entry}"


def test_a_block_is_read(tmp_path: Path) -> None:
    entry = load_gpu(file_with(tmp_path, block())).calibration["vllm"].kernels["gemm"]["bf16"]
    assert entry.constants == {"launch_s": 3e-6, "compute": 0.9, "memory": 0.9, "step_s": 6e-8}
    assert (entry.fit.points, entry.fit.median, entry.fit.version) == (5, 0.04, None)


WRONG = {
    "unknown kernel": (block("gem"), "calibration.vllm: no kernel is called", '"gem"', 'did you mean "gemm"?'),
    "nothing like it": (block("bf16"), "calibration.vllm: no kernel is called", '"bf16"', "known: gemm, grouped"),
    "misspelt constant": (
        block(constants=CONSTANTS.replace("compute", "compite")),
        "gemm.bf16 has no constant",
        '"compite"',
        'did you mean "compute"?',
    ),
    "negative": (
        block(constants=CONSTANTS.replace("3.0e-06", "-3.0e-06")),
        "gemm.bf16.launch_s must be a number of at least 0",
        "got -3e-06",
    ),
    "more than all": (
        block(constants=CONSTANTS.replace("0.9", "1.2", 1)),
        "gemm.bf16.compute must be a share above 0, at most 1, like 0.85",
        "got 1.2",
    ),
    "nothing at all": (block(constants=CONSTANTS.replace("0.9", "0", 1)), "gemm.bf16.compute must be a share", "got 0"),
    "infinite": (block(constants=CONSTANTS.replace("6.0e-08", ".inf")), "gemm.bf16.step_s must be a number", "got inf"),
    "not a number": (block(constants=CONSTANTS.replace("6.0e-08", ".nan")), "gemm.bf16.step_s must be", "got nan"),
    "missing": (block(constants=CONSTANTS.replace(", step_s: 6.0e-08", "")), "gemm.bf16 lacks", "step_s; add it"),
    "a word": (
        block(constants=CONSTANTS.replace("6.0e-08", "fast")),
        "gemm.bf16.constants.step_s",
        "must be a valid number",
        "got 'fast'",
    ),
    "no mapping": (block(constants="3"), "gemm.bf16.constants", "must be a valid dictionary", "got 3"),
    "no error": (block(fit=FIT.replace("median: 0.04, ", "")), "gemm.bf16.fit.median", "is missing; add it"),
    "a negative error": (
        block(fit=FIT.replace("0.04", "-0.04")),
        "bf16.fit.median",
        "greater than or equal to 0",
        "-0.04",
    ),
    "an error of nothing": (block(fit=FIT.replace("0.04", ".nan")), "bf16.fit.median", "finite number", "got nan"),
    "misspelt error": (block(fit=FIT.replace("p90", "p9O")), "gemm.bf16.fit.p9O", 'did you mean "p90"?'),
    "no date": (
        block(fit=FIT.replace("2026-11-21", "soon")),
        "gemm.bf16.fit.date",
        "must be a valid date",
        "got 'soon'",
    ),
    "points": (block(fit=FIT.replace("points: 5", "points: few")), "bf16.fit.points", "valid integer", "got 'few'"),
    "no library": ("calibration: 3", "calibration: must be a valid dictionary", "got 3"),
    "no kernels": ("calibration: {vllm: {kernel: {}}}", "calibration.vllm.kernel", 'did you mean "kernels"?'),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_a_wrong_block_is_one_sentence(tmp_path: Path, wrong: tuple[str, ...]) -> None:
    text, *said = wrong
    file = file_with(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_gpu(file)
    told = str(caught.value)
    assert told.startswith(f"{file}: calibration")
    assert "\n" not in told
    for words in said:
        assert words in told


def test_what_models_sustain_is_a_factor_and_no_share(tmp_path: Path) -> None:
    text = block("sustained", constants="{compute: 1.05, memory: 1.0}")
    assert load_gpu(file_with(tmp_path, text)).calibration["vllm"].kernels["sustained"]["bf16"].constants["compute"] > 1
