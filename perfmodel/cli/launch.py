"""`perfmodel launch`: what to run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.cli import serve as s

Goal = Annotated[
    list[str] | None,
    typer.Option("--goal", help='What a request should see: "ttft=500 ms", "tpot=50 ms"; repeat it.', metavar="GOAL"),
]
Context = Annotated[int | None, o.whole("--context", help="Longest prompt and output together, in tokens.")]
Checkpoint = Annotated[str | None, typer.Option(help="Repository or folder of the weights to serve.", metavar="NAME")]
Port = Annotated[int | None, o.whole("--port", help="Port of the server (the engine's usual one).")]
GpusPerNode = Annotated[int | None, o.whole("--gpus-per-node", help="GPUs of a host (8, or as many as its board has).")]
Kubernetes = Annotated[bool, typer.Option("--kubernetes", help="The Kubernetes manifest alone, as YAML.")]


@o.takes_a_question()
def launch(
    question: dict[str, Any],
    concurrency: s.Concurrency = None,
    rate: s.Rate = None,
    requests: s.Requests = None,
    prompt_lengths: s.PromptLengths = None,
    output_lengths: s.OutputLengths = None,
    trace: s.Trace = None,
    goal: Goal = None,
    context: Context = None,
    checkpoint: Checkpoint = None,
    port: Port = None,
    gpus_per_node: GpusPerNode = None,
    prefill_workers: s.PrefillWorkers = None,
    decode_workers: s.DecodeWorkers = None,
    prefill_tp: s.PrefillTp = None,
    kubernetes: Kubernetes = False,
    json: o.Json = False,
) -> int:
    """What to run: the engine's command line, a load test that verifies it, a Kubernetes manifest."""
    from perfmodel.launch.question import launched

    own = {name: value for name, value in locals().items() if name in OWN}
    answer = launched(**question, **own, goals=tuple(goal or ()))
    print(_shown(answer, kubernetes, json), end="" if kubernetes and not json else "\n")
    return 0


OWN = (
    "concurrency", "rate", "requests", "prompt_lengths", "output_lengths", "trace", "context", "checkpoint", "port",
    "gpus_per_node", "prefill_workers", "decode_workers", "prefill_tp",
)  # fmt: skip


def _shown(answer: Any, kubernetes: bool, json: bool) -> str:
    from perfmodel.cli.launched import launch_screen, manifest_text

    if json:
        return o.dumped(answer.to_dict())
    return manifest_text(answer.launch) if kubernetes else launch_screen(answer.launch, answer.tests)
