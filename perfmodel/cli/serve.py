"""`perfmodel serve`: a deployment under traffic."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o

Arrival = Annotated[
    str | None, typer.Option(help="closed (clients in a loop), open (Poisson), burst (all at once), trace.")
]
Concurrency = Annotated[int | None, o.whole("--concurrency", "-c", help="Requests always in flight (closed loop; 32).")]
Rate = Annotated[float | None, o.real("--rate", help="Requests a second (open loop).")]
Requests = Annotated[int | None, o.whole("--requests", help="Requests in all (10 for each in flight).")]
PromptLengths = Annotated[
    str | None, typer.Option(help='Prompts: "uniform:512-1536", "lognormal:1024,0.8", "sample:FILE.csv:COLUMN".')
]
OutputLengths = Annotated[str | None, typer.Option(help="The same of outputs.")]
Trace = Annotated[str | None, typer.Option(help="CSV of arrival times and lengths to replay.", metavar="FILE")]
Policy = Annotated[
    str | None, typer.Option(help="How passes are made: mixed, prefill-first, decode-first, static (the engine's own).")
]
PrefillWorkers = Annotated[
    int | None, o.whole("--prefill-workers", help="Disaggregate: deployments that only prefill (as many as keep pace).")
]
DecodeWorkers = Annotated[
    int | None, o.whole("--decode-workers", help="Disaggregate: deployments that only decode (as many as keep pace).")
]
PrefillTp = Annotated[int | None, o.whole("--prefill-tp", help="Tensor parallelism of a prefill worker.")]
PrefillBatch = Annotated[int | None, o.whole("--prefill-batch", help="Most prompts of a prefill worker's pass.")]
Csv = Annotated[bool, typer.Option("--csv", help="One row a request.")]


@o.takes_a_question()
def serve(
    question: dict[str, Any],
    arrival: Arrival = None,
    concurrency: Concurrency = None,
    rate: Rate = None,
    requests: Requests = None,
    prompt_lengths: PromptLengths = None,
    output_lengths: OutputLengths = None,
    trace: Trace = None,
    policy: Policy = None,
    prefill_workers: PrefillWorkers = None,
    decode_workers: DecodeWorkers = None,
    prefill_tp: PrefillTp = None,
    prefill_batch: PrefillBatch = None,
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
) -> int:
    """TTFT, ITL and E2E under load, mean and percentiles: a closed loop, a request rate, a burst or a trace."""
    from perfmodel.serving.question import serve as ask

    traffic = {name: value for name, value in locals().items() if name in TRAFFIC}
    answer = ask(**question, **traffic)
    if html is not None:
        o.write_page(answer, html)
    print(_shown(answer, json, csv), end="" if csv else "\n")
    return 0


TRAFFIC = (
    "arrival", "concurrency", "rate", "requests", "prompt_lengths", "output_lengths", "trace", "policy",
    "prefill_workers", "decode_workers", "prefill_tp", "prefill_batch",
)  # fmt: skip


def _shown(answer: Any, json: bool, csv: bool) -> str:
    from perfmodel.cli.served import serving_screen
    from perfmodel.serving.contract import requests_table

    if csv:
        return str(requests_table(answer).to_csv())
    return o.dumped(answer.to_dict()) if json else serving_screen(answer)
