"""The tool whose file it is, told by the content; its runs → rows of measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from perfmodel.benchmarked import aiperf, guidellm, llama_bench, sglang, startup, trtllm, vllm
from perfmodel.benchmarked.content import Content
from perfmodel.benchmarked.run import Given, Run, rows_of
from perfmodel.errors import RequestError, SpecError
from perfmodel.published.rows import Row
from perfmodel.published.rows import rows_of as csv_rows


class Reader(NamedTuple):
    """One module's way with the files of its tools."""

    recognises: Callable[[Content], bool]
    runs: Callable[[Content], list[Run]]
    tools: tuple[str, ...]


# the first that recognises a file reads it; SGLang's have fields of vLLM's, and one more
READERS = tuple(
    Reader(module.recognises, module.runs, module.TOOLS)
    for module in (llama_bench, trtllm, guidellm, aiperf, sglang, vllm)
)
TOOLS = tuple(tool for reader in READERS for tool in reader.tools)
"""What the column source_id says of rows that were imported."""


def measured_rows(content: Content, given: Given) -> list[Row]:
    """The rows of a result file; SpecError where it is of no tool that is known."""
    for reader in READERS:
        if reader.recognises(content):
            runs = reader.runs(content)
            return [row for run in runs for row in rows_of(run, given, Path(content.shown).name)]
    if content.is_json and not content.records:
        raise SpecError(f"{content.shown}: holds no record; {_KNOWN}")
    raise SpecError(f"{content.shown}: is of no tool that is known; {_KNOWN}")


def rows_to_fit(file: str, given: Given) -> list[Row] | None:
    """The rows of a result file, or of a CSV file that `validate import` wrote; None for other files of runs."""
    content = Content.of(file)
    if is_log(content):
        raise SpecError(f"{file}: is a start-up log, which has no times to fit; give a benchmark's result file.")
    if file.endswith(".csv") and not llama_bench.recognises(content):
        rows = csv_rows(file)
        if not rows or any(row.source_id not in TOOLS for row in rows):
            return None
        if said := [name for name in Given.__dataclass_fields__ if getattr(given, name) is not None]:
            raise RequestError(
                f"--{said[0].replace('_', '-')}: is for a result file; rows of {file} say it themselves."
            )
        return rows
    return measured_rows(content, given)


_KNOWN = "known: " + ", ".join(TOOLS) + ", and start-up logs of vLLM and SGLang."


def is_log(content: Content) -> bool:
    """Whether it is an engine's start-up log."""
    return not content.is_json and not llama_bench.recognises(content) and startup.recognises(content)
