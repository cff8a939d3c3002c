"""`perfmodel plan`: traffic and goals in, the cheapest deployments out."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from perfmodel.cli import options as o
from perfmodel.cli.launch import Kubernetes
from perfmodel.cli.serve import OutputLengths, PromptLengths, Trace
from perfmodel.workload import OUTPUT, PROMPT


def several(*names: str, help: str) -> Any:
    """A flag that takes a comma list and may be repeated."""
    return typer.Option(*names, help=help, metavar="LIST", show_default=False)


Gpus = Annotated[list[str] | None, several("--gpu", "-g", help="GPUs to choose from (all that have a price).")]
Rate = Annotated[float | None, o.real("--rate", help="Requests a second, in the mean.")]
Users = Annotated[float | None, o.real("--users", help="People at once, instead of a rate; needs --think-time.")]
ThinkTime = Annotated[
    str | None, typer.Option(help='How long a user waits before the next request, like "30 s".', metavar="TIME")
]
Peak = Annotated[float | None, o.real("--peak", help="Busiest time over the mean (1; of a trace, its busiest minute).")]
Growth = Annotated[float, o.real("--growth", help="Growth a month, like 0.05 (0).")]
Months = Annotated[float, o.real("--months", help="Months of growth to plan for (0).")]
Ttft = Annotated[str | None, typer.Option(help='Most time to first token at p95, like "500 ms".', metavar="TIME")]
Tpot = Annotated[str | None, typer.Option(help="Most time per output token at p95.", metavar="TIME")]
E2e = Annotated[str | None, typer.Option("--e2e", help="Most end-to-end time at p95.", metavar="TIME")]
Goals = Annotated[
    list[str] | None, typer.Option("--goal", help='A goal at mean, p50, p95 or p99: "ttft p99 < 2 s".', metavar="GOAL")
]
Availability = Annotated[
    str, typer.Option(help="Replicas that may be out of service while goals hold: n, n+1, n+2.", metavar="N+K")
]
Minimize = Annotated[str, typer.Option(help="What is least: cost, gpus, or power.")]
MaxGpus = Annotated[int | None, o.whole("--max-gpus", help="Most GPUs in all.")]
Budget = Annotated[float | None, o.real("--budget", help="Most USD a month.")]
MaxPower = Annotated[float | None, o.real("--max-power", help="Most kW of all boards at full power.")]
PriceFile = Annotated[
    str | None, typer.Option("--prices", help="YAML of USD per GPU and hour, or of regions of them.", metavar="FILE")
]
Region = Annotated[str | None, typer.Option(help="Which region of the price file.")]
Price = Annotated[list[str] | None, several("--price", help='USD per GPU and hour, like "h100=2.5".')]
PerReplica = Annotated[
    list[str] | None,
    several("--gpus-per-replica", help="GPUs of one replica to try (1,2,4,8; more where none holds it)."),
]
Weights = Annotated[
    list[str] | None, several("--weights", help="Weight formats to try (auto,fp8; auto: the checkpoint's).")
]
Kv = Annotated[list[str] | None, several("--kv", help="KV-cache formats to try (auto).")]
Engines = Annotated[list[str] | None, several("--engine", help="Engines to try (vllm).")]
MaxNumSeqs = Annotated[
    list[str] | None, several("--max-num-seqs", help="Limits of sequences to try besides the engine's own.")
]
MaxTokens = Annotated[
    list[str] | None, several("--max-num-batched-tokens", help="Limits of a pass to try besides the engine's own.")
]
Together = Annotated[bool, typer.Option("--no-disaggregation", help="Only workers that both prefill and decode.")]
Confidence = Annotated[
    float | None, o.real("--confidence", help="Keep the goals with this chance, though times err (0.5: as expected).")
]
Csv = Annotated[bool, typer.Option("--csv", help="One row a deployment: the best, others, the Pareto front.")]


def plan(
    model: o.ModelName,
    gpu: Gpus = None,
    rate: Rate = None,
    users: Users = None,
    think_time: ThinkTime = None,
    trace: Trace = None,
    prompt: o.Prompt = PROMPT,
    output: o.Output = OUTPUT,
    prompt_lengths: PromptLengths = None,
    output_lengths: OutputLengths = None,
    peak: Peak = None,
    growth: Growth = 0.0,
    months: Months = 0.0,
    ttft: Ttft = None,
    tpot: Tpot = None,
    e2e: E2e = None,
    goal: Goals = None,
    availability: Availability = "n",
    minimize: Minimize = "cost",
    max_gpus: MaxGpus = None,
    budget: Budget = None,
    max_power: MaxPower = None,
    prices: PriceFile = None,
    region: Region = None,
    price: Price = None,
    gpus_per_replica: PerReplica = None,
    weights: Weights = None,
    kv: Kv = None,
    engine: Engines = None,
    max_num_seqs: MaxNumSeqs = None,
    max_num_batched_tokens: MaxTokens = None,
    no_disaggregation: Together = False,
    confidence: Confidence = None,
    draft: o.Draft = None,
    speculate: o.Speculate = None,
    draft_tokens: o.DraftTokens = None,
    acceptance: o.Acceptance = None,
    accepted_length: o.AcceptedLength = None,
    prefix: o.Prefix = 0,
    prefix_hit: o.PrefixHit = 1.0,
    memory_share: o.MemoryShare = None,
    exempt: o.Exempt = None,
    assume: o.Assume = None,
    kubernetes: Kubernetes = False,
    json: o.Json = False,
    csv: Csv = False,
    html: o.Html = None,
    path: o.Folders = None,
) -> int:
    """The cheapest deployments that serve your traffic within your goals: GPUs, split, precision, limits, replicas."""
    given = {name: value for name, value in locals().items() if name not in OWN}
    from perfmodel.cli.planning import read
    from perfmodel.cli.progress import counted

    o.take_up(path)
    asked = read(given, think_time, availability, goal, price, max_power, no_disaggregation)
    with counted("deployments") as progress:
        from perfmodel.planning.question import plan as ask

        answer = ask(**asked, progress=progress)
        answer.to_dict() if json else (answer.best, answer.others)  # simulations, while the bar shows
    if html is not None:
        o.write_page(answer, html)
    print(_shown(answer, kubernetes, json, csv), end="" if csv or kubernetes else "\n")
    return 0 if answer.met else 1


OWN = (
    "think_time",
    "availability",
    "goal",
    "price",
    "max_power",
    "no_disaggregation",
    "kubernetes",
    "json",
    "csv",
    "html",
    "path",
)


def _shown(answer: Any, kubernetes: bool, json: bool, csv: bool) -> str:
    from perfmodel.cli.launched import manifest_text
    from perfmodel.cli.planned import plan_screen

    if kubernetes and answer.launch is not None:
        return manifest_text(answer.launch[0])
    if csv:
        return str(answer.to_table().to_csv())
    return o.dumped(answer.to_dict()) if json else plan_screen(answer)
