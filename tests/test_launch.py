"""Commands, manifests and load tests that start and verify a deployment: only known flags, and what was modelled."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from dataclasses import replace
from math import ceil, floor
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perfmodel.answer import estimate
from perfmodel.cli import main
from perfmodel.deployment import Deployment
from perfmodel.errors import DoesNotFitError, RequestError
from perfmodel.launch import Launch, launch, load_test
from perfmodel.launch.checkpoint import hub_id
from perfmodel.launch.flags import FLAGS, TOOLS, numbers, version_for
from perfmodel.launch.kubernetes import dns_name
from perfmodel.launch.load import load_tests
from perfmodel.launch.nodes import host_devices, nodes
from perfmodel.launch.question import launched
from perfmodel.launch.sheet import Command, Sheet, blanks
from perfmodel.memory import memory
from perfmodel.serving.lengths import Lengths
from perfmodel.serving.traffic import Traffic, traffic
from perfmodel.workload import Workload

ROOT = Path(__file__).parent.parent
LABEL = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?")
"""A DNS label that begins with a letter (RFC 1035), which names of Services are."""
ENGINES = {
    "vllm": ["0.33.0", "0.24.0", "0.16.0", "0.12.0", "0.11.0", "0.8.5"],
    "sglang": ["0.5.23", "0.5.5", "0.4.6"],
    "trtllm": ["1.2.1", "1.0.0"],
    "llama.cpp": ["2026"],
}
QUESTIONS: dict[str, dict[str, Any]] = {
    "plain": {"model": "llama3-8b", "gpu": "h100"},
    "split": {"model": "llama3-70b", "gpu": "h100", "tp": 4, "pp": 2, "kv": "fp8"},
    "hosts": {"model": "llama3.1-405b", "gpu": "h100", "tp": 8, "pp": 2},
    "experts": {"model": "deepseek-v3", "gpu": "h200", "tp": 1, "dp": 16, "ep": 16, "speculate": "mtp"},
    "deepep": {"model": "deepseek-v3", "gpu": "h200", "tp": 2, "dp": 4, "ep": 8, "exchange": "deepep",
               "balanced_experts": True},
    "fp8": {"model": "llama3-70b", "gpu": "h100", "tp": 2, "weights": "fp8", "kv_block": 32, "max_num_seqs": 64},
    "int4": {"model": "llama3-70b", "gpu": "h100", "tp": 1, "weights": "int4", "kv": "int8"},
    "gguf": {"model": "llama3-8b", "gpu": "rtx4090", "weights": "q4_k_m", "kv": "q8_0"},
    "draft": {"model": "llama3-70b", "gpu": "h100", "tp": 4, "draft": "llama3.2-1b", "draft_tokens": 3},
    "ngram": {"model": "llama3-8b", "gpu": "h100", "speculate": "ngram"},
    "eagle3": {"model": "llama3-8b", "gpu": "h100", "speculate": "eagle3"},
    "eagle": {"model": "llama3-8b", "gpu": "h100", "speculate": "eagle"},
    "medusa": {"model": "llama3-8b", "gpu": "h100", "speculate": "medusa"},
    "lora": {"model": "llama3-8b", "gpu": "h100", "lora": "16,q+v,4", "offload_weights": 0.2},
    "prefix": {"model": "llama3-8b", "gpu": "h100", "prefix": 500, "max_num_batched_tokens": 4096},
}  # fmt: skip


def plan_of(engine: str, version: str = "", **question: Any) -> Deployment:
    name = f"{engine}@{version}" if version else engine
    return estimate(**question, engine=name, must_fit=False).plan


def flags_of(told: Launch) -> list[str]:
    """Flags of the engine that any of its commands has."""
    return [line[0] for command in told.server for line in command.words[1:] if line[0].startswith("--")]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_only_flags_that_the_version_has_are_written(engine: str, question: dict[str, Any]) -> None:
    for version in ENGINES[engine]:
        told = launch(plan_of(engine, version, **question), context=2048, prefix="prefix" in question)
        assert told.version == version
        written = [flag for flag in flags_of(told) if (engine, flag) in FLAGS]
        others = {flag for flag in flags_of(told) if (engine, flag) not in FLAGS}
        assert all(FLAGS[engine, flag].holds(numbers(version)) for flag in written)
        assert {flag.split("=")[0] for flag in others} <= {"--head", "--port", "--address"}  # Ray's
        assert len(written) > 4
        for command in told.server:
            names = [line[0] for line in command.words[1:]]
            assert len(names) == len(set(names)), "a flag stands twice"
        for text in told.files.values():
            for key in keys_of(yaml.safe_load(text)):
                assert FLAGS[engine, key].holds(numbers(version))


def keys_of(told: dict[str, Any], above: str = "") -> list[str]:
    """Dotted names of the values of nested mappings."""
    found = []
    for name, value in told.items():
        found += keys_of(value, f"{above}{name}.") if isinstance(value, dict) else [f"{above}{name}"]
    return found


def test_a_flag_that_no_row_vouches_for_cannot_be_written() -> None:
    with pytest.raises(KeyError):
        Sheet("vllm", "0.33.0").add("--make-it-fast")


def test_what_was_modelled_is_what_is_started() -> None:
    plan = plan_of("vllm", **QUESTIONS["fp8"], memory_share=0.8, max_num_batched_tokens=4096)
    server = launch(plan, context=3000).server[0]
    assert server.argv[:3] == ["vllm", "serve", "meta-llama/Meta-Llama-3-70B-Instruct"]
    wanted = {
        "--tensor-parallel-size": "2",
        "--gpu-memory-utilization": "0.8",
        "--max-num-seqs": "64",
        "--max-num-batched-tokens": "4096",
        "--block-size": "32",
        "--max-model-len": "3000",
        "--dtype": "bfloat16",
        "--quantization": "fp8_per_tensor",
    }
    assert {flag: server.value(flag) for flag in wanted} == wanted
    assert server.value("--pipeline-parallel-size") is None


def test_each_engine_calls_the_same_deployment_by_its_own_words() -> None:
    question = QUESTIONS["split"] | {"gpu": "h100"}
    sglang = launch(plan_of("sglang", **question), context=2048).server[0]
    assert (sglang.value("--tp-size"), sglang.value("--pp-size")) == ("4", "2")
    assert sglang.value("--kv-cache-dtype") == "fp8_e4m3"
    told = launch(plan_of("trtllm", **question), context=2048)
    assert (told.server[0].value("--tp_size"), told.server[0].value("--pp_size")) == ("4", "2")
    assert yaml.safe_load(told.files["server.yaml"])["kv_cache_config"] == {"dtype": "fp8"}
    slots = launch(plan_of("llama.cpp", **QUESTIONS["gguf"]), context=2048, sequences=6).server[0]
    assert (slots.value("--parallel"), slots.value("--ctx-size")) == ("6", str(6 * 2048))
    assert slots.value("--cache-type-k") == slots.value("--cache-type-v") == "q8_0"


def test_attention_groups_of_sglang_lie_inside_its_tensor_parallelism() -> None:
    plan = plan_of("sglang", **QUESTIONS["deepep"])
    new, old = launch(plan, context=2048), launch(plan_of("sglang", "0.5.5", **QUESTIONS["deepep"]), context=2048)
    assert (new.server[0].value("--tp-size"), new.server[0].value("--attn-dp-size")) == ("8", "4")
    assert (old.server[0].value("--dp-size"), old.server[0].value("--enable-dp-attention")) == ("4", "")
    # it divides both by the groups: srt/arg_groups/parallel_hook.py, mem_cache/kv_cache_configurator.py
    assert int(new.server[0].value("--chunked-prefill-size") or 0) == 4 * plan.engine.token_budget


# ── versions ─────────────────────────────────────────────────────────────────────────────────────


def test_versions_decide_what_there_is() -> None:
    fp8 = QUESTIONS["fp8"]
    assert launch(plan_of("vllm", "0.16.0", **fp8), context=999).server[0].value("--quantization") == "fp8"
    draft = QUESTIONS["draft"]
    new, old = (launch(plan_of("vllm", version, **draft), context=999) for version in ("0.33.0", "0.12.0"))
    config = json.loads(new.server[0].value("--speculative-config") or "")
    assert config == {"method": "draft_model", "num_speculative_tokens": 3, "model": hub_id_of("llama3.2-1b")}
    assert old.server[0].value("--speculative-config") is None
    assert any("--speculate draft" in text for text in old.lacks)
    assert not new.lacks


def hub_id_of(name: str) -> str:
    from perfmodel.catalog import load_model

    found = hub_id(load_model(name))
    assert found is not None
    return found


def test_versions_older_than_any_that_was_read_are_refused_and_newer_ones_told() -> None:
    with pytest.raises(RequestError, match=r"vllm@0\.7.*known from 0\.8\.5"):
        launch(plan_of("vllm", "0.7.3", model="llama3-8b", gpu="h100"), context=999)
    assert version_for("vllm", "0.8") == "0.8"
    told = launch(plan_of("vllm", "9.0", model="llama3-8b", gpu="h100"), context=999)
    assert any("read from vLLM 0.33.0" in text for text in told.notes)
    assert numbers("0.4.6.post5") == (0, 4, 6)


def test_engines_without_a_command_are_refused() -> None:
    with pytest.raises(RequestError, match="no command line is known"):
        launch(plan_of("tgi", model="llama3-8b", gpu="h100"), context=999)


# ── which weights ────────────────────────────────────────────────────────────────────────────────


def test_no_repository_is_made_up() -> None:
    told = launch(plan_of("vllm", **QUESTIONS["int4"]), context=999)
    assert told.checkpoint == "<weights of llama3-70b in int4>"
    assert told.placeholders == (told.checkpoint,)
    named = launch(plan_of("vllm", **QUESTIONS["int4"]), context=999, checkpoint="me/mine-awq")
    assert (named.checkpoint, named.placeholders) == ("me/mine-awq", ())
    assert any("me/mine-awq must hold weights in int4" in text for text in named.notes)
    published = launch(plan_of("vllm", model="deepseek-v3", gpu="h200", tp=8), context=999)
    assert published.checkpoint in plan_of("vllm", model="deepseek-v3", gpu="h200", tp=8).model.hub
    pruned = launch(plan_of("vllm", model="llama3-8b", gpu="h100", prune="layers=4"), context=999)
    assert pruned.lacks
    assert pruned.placeholders


def test_every_repository_that_is_named_stands_in_a_model_file() -> None:
    for question in QUESTIONS.values():
        for engine in ENGINES:
            told = launch(plan_of(engine, **question), context=999)
            assert told.checkpoint in told.plan.model.hub or blanks([told.checkpoint])


def test_disks_hold_what_is_fetched_not_what_is_kept() -> None:
    """Weights that are quantized while they are loaded come in 16 bits."""
    sizes = {}
    for weights in ("bf16", "fp8", "int4"):
        told = launch(plan_of("vllm", model="llama3-70b", gpu="h100", tp=4, weights=weights), context=999)
        claim = next(thing for thing in yaml.safe_load_all(told.manifest) if thing["kind"] == "PersistentVolumeClaim")
        sizes[weights] = int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi"))
    assert sizes["bf16"] == sizes["fp8"] > 2 * sizes["int4"]
    assert sizes["bf16"] * 2**30 > 70.55e9 * 2


# ── hosts ────────────────────────────────────────────────────────────────────────────────────────


def test_hosts_count_every_device_once() -> None:
    told = launch(plan_of("vllm", **QUESTIONS["hosts"]), context=999)
    ranks = [command.value("--node-rank") for command in told.server]
    assert ranks == ["0", "1"]
    assert {command.value("--nnodes") for command in told.server} == {"2"}
    assert [command.value("--headless") for command in told.server] == [None, ""]
    experts = launch(plan_of("vllm", **QUESTIONS["experts"]), context=999)
    local = [int(command.value("--data-parallel-size-local") or 0) for command in experts.server]
    starts = [int(command.value("--data-parallel-start-rank") or 0) for command in experts.server]
    assert sum(local) == 16
    assert starts == [0, 8]
    assert experts.manifest == ""
    assert any("no manifest" in text for text in experts.notes)


def test_before_hosts_had_numbers_ray_joined_them() -> None:
    told = launch(plan_of("vllm", "0.11.0", **QUESTIONS["hosts"]), context=999)
    assert [command.argv[0] for command in told.server] == ["ray", "ray", "vllm"]
    assert told.server[-1].value("--distributed-executor-backend") == "ray"


def test_hosts_are_filled_evenly_or_refused() -> None:
    plan = plan_of("vllm", **QUESTIONS["hosts"])
    assert (nodes(plan, None).count, nodes(plan, 4).count, nodes(plan, 16).count) == (2, 4, 1)
    with pytest.raises(RequestError, match="--gpus-per-node 5: 16 devices"):
        nodes(plan, 5)
    assert host_devices(plan_of("vllm", model="llama3-8b", gpu="gb200").gpu) == 4


# ── text that a shell and a cluster read ─────────────────────────────────────────────────────────


def parsed(command: Command) -> list[str]:
    """The words that a shell makes of a command, without the variables before it."""
    return shlex.split(command.text.replace("\\\n", " "))[len(command.env) :]


@given(name=st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=60))
def test_a_shell_and_a_manifest_get_every_name_as_it_is(name: str) -> None:
    plan = PLAIN
    told = launch(plan, context=999, checkpoint=name)
    assert parsed(told.server[0]) == told.server[0].argv
    assert name in told.server[0].argv
    pod = next(thing for thing in yaml.safe_load_all(told.manifest) if thing["kind"] == "Deployment")
    arguments = pod["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments[1] == name.replace("$(", "$$(")
    for command in load_test(told, STEADY).values():
        assert parsed(command) == command.argv


@given(text=st.text(max_size=90))
def test_names_are_labels(text: str) -> None:
    assert LABEL.fullmatch(dns_name(text))
    assert len(dns_name(text)) <= 50


PLAIN = plan_of("vllm", model="llama3-8b", gpu="h100")
STEADY = traffic("open", Lengths.fixed(1000), Lengths.fixed(100), None, 4.0, 200)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_manifest_has_what_kubernetes_asks_for(engine: str) -> None:
    """Required fields of the API reference: apps/v1 Deployment, v1 Service, PersistentVolumeClaim, ConfigMap."""
    told = launch(plan_of(engine, model="llama3-8b", gpu="h100", replicas=3), context=999, replicas=2)
    things = {thing["kind"]: thing for thing in yaml.safe_load_all(told.manifest)}
    assert {"PersistentVolumeClaim", "Deployment", "Service"} <= set(things) <= {*things, "ConfigMap"}
    assert all({"apiVersion", "kind", "metadata"} <= set(thing) for thing in things.values())
    assert all(LABEL.fullmatch(thing["metadata"]["name"]) for thing in things.values())
    deployment, service = things["Deployment"]["spec"], things["Service"]["spec"]
    assert deployment["replicas"] == told.copies == 6
    labels = deployment["template"]["metadata"]["labels"]
    assert deployment["selector"]["matchLabels"] == labels
    assert service["selector"] == labels
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"].count(":") == 1
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert container["ports"] == [{"name": "http", "containerPort": told.port}]
    assert service["ports"][0]["targetPort"] == told.port
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"] == {"path": "/health", "port": "http"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    token = container["env"][0]["valueFrom"]["secretKeyRef"]
    assert token == {"name": "hf-token-secret", "key": "token", "optional": True}
    assert "&id" not in told.manifest
    assert "*id" not in told.manifest
    for file in told.files:
        assert f"/etc/perfmodel/{file}" in container["args"]
        assert things["ConfigMap"]["data"][file] == told.files[file]


def test_hosts_are_a_leader_and_workers() -> None:
    told = launch(plan_of("sglang", **QUESTIONS["hosts"]), context=999)
    claim, group, service = yaml.safe_load_all(told.manifest)
    assert group["apiVersion"] == "leaderworkerset.x-k8s.io/v1"
    template = group["spec"]["leaderWorkerTemplate"]
    assert template["size"] == 2
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    leader = template["leaderTemplate"]["spec"]["containers"][0]
    worker = template["workerTemplate"]["spec"]["containers"][0]
    for container in (leader, worker):
        arguments = container["args"]
        assert arguments[arguments.index("--node-rank") + 1] == "$(LWS_WORKER_INDEX)"
        assert arguments[arguments.index("--dist-init-addr") + 1] == "$(LWS_LEADER_ADDRESS):5000"
        assert container["resources"]["limits"] == {"nvidia.com/gpu": "8"}
    assert "readinessProbe" in leader
    assert "readinessProbe" not in worker
    assert template["leaderTemplate"]["metadata"]["labels"]["role"] == service["spec"]["selector"]["role"]
    assert not blanks([told.manifest])


def test_devices_of_amd_have_their_resource_and_others_no_manifest() -> None:
    amd = launch(plan_of("vllm", model="llama3-8b", gpu="mi300x"), context=999)
    assert "amd.com/gpu" in amd.manifest
    assert "vllm-openai-rocm" in amd.manifest
    other = launch(plan_of("llama.cpp", model="llama3-8b", gpu="m3-ultra"), context=999)
    assert other.manifest == ""
    assert any(text.startswith("no manifest: ") for text in other.notes)


# ── prefill and decode apart ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm"])
def test_prefill_and_decode_apart_are_workers_and_what_routes(engine: str) -> None:
    decode = plan_of(engine, model="llama3-70b", gpu="h100", tp=4)
    prefill = decode.split(8, 1)
    told = launch(decode, context=2048, prefill=prefill, workers=(2, 3))
    titles = [command.title for command in told.server]
    assert titles[:2] == ["a prefill worker", "a decode worker"]
    assert told.gpu_count == 2 * 8 + 3 * 4
    ports = [command.value("--port") for command in told.server[:2]]
    assert len({*ports, str(told.port)}) == 3, "one host may run all of them"
    if engine == "vllm":
        roles = [json.loads(command.value("--kv-transfer-config") or "")["kv_role"] for command in told.server]
        assert roles == ["kv_producer", "kv_consumer"]
    if engine == "sglang":
        assert [c.value("--disaggregation-mode") for c in told.server[:2]] == ["prefill", "decode"]
        assert told.server[2].argv.count("--prefill") == 2
        assert told.server[2].argv.count("--decode") == 3
    if engine == "trtllm":
        router = yaml.safe_load(told.files["disaggregated.yaml"])
        assert router["context_servers"]["num_instances"] == 2 == len(router["context_servers"]["urls"])
        assert router["port"] == told.port
        assert yaml.safe_load(told.files["prefill.yaml"])["disable_overlap_scheduler"] is True


# ── what commands cannot do ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("question", "named"),
    [
        ({"kv_policy": "streaming:4+1020"}, "--kv-policy"),
        ({"kv": "kivi2"}, "--kv kivi2"),
        ({"attention": "naive"}, "--attention naive"),
        ({"offload_kv": 0.5}, "--offload-kv"),
        ({"cp": 2}, "--cp 2"),
        ({"speculate": "lookahead"}, "--speculate lookahead"),
        ({"speculate": "eagle2"}, "--draft-tree 60"),
    ],
)
def test_what_no_flag_says_is_said(question: dict[str, Any], named: str) -> None:
    told = launch(plan_of("vllm", model="llama3-8b", gpu="h100", **question), context=2048)
    assert any(named in text for text in told.lacks)


def test_weights_on_the_host_are_counted_as_memory_counts_them() -> None:
    plan = plan_of("vllm", model="llama3-8b", gpu="h100", offload_weights=0.5)
    told = launch(plan, context=999).server[0].value("--cpu-offload-gb")
    assert float(told or 0) * 2**30 == pytest.approx(float(memory(plan, Workload(1, 1, 1)).offloaded), rel=1e-3)


def test_wrong_limits_are_refused() -> None:
    for wrong, text in (
        ({"context": 10**6}, "more than llama3-8b takes"),
        ({"context": 99, "port": 70000}, "--port must be"),
        ({"context": 99, "prefill": PLAIN, "workers": (0, 1)}, "at least one each"),
    ):
        with pytest.raises(RequestError, match=text):
            launch(PLAIN, **wrong)  # type: ignore[arg-type]


# ── load tests ───────────────────────────────────────────────────────────────────────────────────


def load_of(sent: Traffic, **goals: float) -> dict[str, Command]:
    return load_tests("m", "m", "http://localhost:8000", sent, goals)


def guided(command: Command, flag: str) -> dict[str, Any]:
    """GuideLLM's options as it reads them: JSON, or a list of keys and values."""
    text = command.value(flag) or ""
    return json.loads(text) if text.startswith("{") else dict(part.split("=") for part in text.split(","))


@pytest.mark.parametrize("arrival", ["open", "closed", "burst"])
def test_load_tests_write_only_known_flags_and_send_all_requests(arrival: str) -> None:
    rate, at_once = (4.0 if arrival == "open" else None), (16 if arrival == "closed" else None)
    sent = traffic(arrival, Lengths.fixed(1000), Lengths.fixed(100), at_once, rate, 200)
    found = load_of(sent, ttft_s=0.5, tpot_s=0.05)
    for name, tool in (("vllm bench serve", "vllm bench"), ("guidellm", "guidellm"), ("aiperf", "aiperf")):
        assert {line[0] for line in found[name].words[1:]} <= {flag for own, flag in FLAGS if own == tool}
        assert found[name].words[0] == TOOLS[tool].command
        assert not found[name].notes
    vllm, guide, aiperf = found.values()
    assert vllm.value("--num-prompts") == aiperf.value("--request-count") == "200"
    assert guided(guide, "--constraint") == {"kind": "max_requests", "count": "200"}
    assert vllm.value("--goodput") == "ttft:500 tpot:50"
    assert guided(guide, "--metrics")["slo"] == {"ttft_ms": 500, "tpot_ms": 50}
    assert aiperf.value("--goodput") == "time_to_first_token:500 inter_token_latency:50"
    paces = {
        "open": ("4", None, {"kind": "poisson", "rate": "4"}),
        "closed": (None, "16", {"kind": "concurrent", "streams": "16"}),
        "burst": (None, None, {"kind": "throughput", "max_concurrency": "200"}),
    }
    pace = vllm.value("--request-rate"), vllm.value("--max-concurrency"), guided(guide, "--profile")
    assert pace == paces[arrival]


@given(low=st.integers(1, 4000), wide=st.integers(0, 4000))
def test_lengths_alike_keep_their_ends(low: int, wide: int) -> None:
    """vLLM and AIPerf draw from [⌊m(1 − r)⌋, ⌈m(1 + r)⌉], GuideLLM from [min, max]."""
    sent = traffic("open", Lengths.uniform(low, low + wide), Lengths.fixed(100), None, 1.0, 10)
    found = load_of(sent)
    data = guided(found["guidellm"], "--data")
    assert (int(data["prompt_tokens_min"]), int(data["prompt_tokens_max"])) == (low, low + wide)
    for name, flag in (("vllm bench serve", "--random-input-len"), ("aiperf", "--isl")):
        mean = int(found[name].value(flag) or 0)
        ratio = json.loads(found[name].value("--random-range-ratio") or '{"input": 0}')
        r = ratio["input"] if isinstance(ratio, dict) else ratio
        if wide / (2 * low + wide) <= 0.95:
            near = 1.5 + 1e-4 * mean
            assert abs(floor(mean * (1 - r)) - low) <= near
            assert abs(ceil(mean * (1 + r)) - low - wide) <= near


def test_other_lengths_keep_their_spread_and_are_told() -> None:
    sent = traffic("open", Lengths.lognormal(1000, 0.3), Lengths.fixed(100), None, 1.0, 10)
    found = load_of(sent)
    ratio = json.loads(found["vllm bench serve"].value("--random-range-ratio") or "")
    assert ratio["input"] == pytest.approx(0.3 * 3**0.5, abs=1e-3)
    assert ratio["output"] == 0
    assert guided(found["guidellm"], "--data")["prompt_tokens_stdev"] == "300" == found["aiperf"].value("--isl-stddev")
    assert all(any("lognormal" in text for text in command.notes) for command in found.values())


def test_load_tests_stay_within_the_context() -> None:
    sent = traffic("open", Lengths.lognormal(1000, 1.0), Lengths.fixed(100), None, 1.0, 10)
    found = load_tests("m", "m", "http://x", sent, None, "", 2048)
    assert int(guided(found["guidellm"], "--data")["prompt_tokens_max"]) == 2048 - 100
    ratio = json.loads(found["vllm bench serve"].value("--random-range-ratio") or "")
    assert 1000 * (1 + ratio["input"]) <= 2048 - 100


def test_prefixes_and_traces_are_sent_as_far_as_tools_can() -> None:
    told = launched("llama3-8b", "h100", rate=2.0, prompt=1000, prefix=400, prefix_hit=0.5)
    vllm, guide, aiperf = told.tests.values()
    assert (vllm.value("--random-prefix-len"), vllm.value("--random-input-len")) == ("400", "600")
    data = guided(guide, "--data")
    assert (data["prefix_tokens"], data["prompt_tokens"]) == ("400", "600")
    assert (aiperf.value("--prefix-prompt-length"), aiperf.value("--isl")) == ("400", "600")
    assert all(any("not 50% of them" in text for text in command.notes) for command in told.tests.values())
    assert told.launch.server[0].value("--enable-prefix-caching") == ""
    times = ((0.0, 100, 10), (1.0, 300, 30), (4.0, 200, 20))
    trace = traffic("trace", Lengths.fixed(1), Lengths.fixed(1), None, None, None, list(times))
    replayed = load_of(trace)["vllm bench serve"]
    assert float(replayed.value("--request-rate") or 0) == pytest.approx(2 / 4)
    assert replayed.value("--random-input-len") == "200"
    assert any("not replayed" in text for text in replayed.notes)


def test_ends_of_lengths_hold_with_a_prefix() -> None:
    sent = replace(traffic("open", Lengths.uniform(400, 800), Lengths.fixed(100), None, 1.0, 10), cached=200)
    found = load_of(sent)
    vllm, data = found["vllm bench serve"], guided(found["guidellm"], "--data")
    ratio = json.loads(vllm.value("--random-range-ratio") or "")
    mean = int(vllm.value("--random-input-len") or 0)
    assert (200 + mean * (1 - ratio["input"]), 200 + mean * (1 + ratio["input"])) == (400, 800)
    assert [200 + int(data[f"prompt_tokens_{end}"]) for end in ("min", "max")] == [400, 800]


def test_gguf_files_have_no_tokenizer() -> None:
    told = launched("llama3-8b", "rtx4090", engine="llama.cpp", weights="q4_k_m", concurrency=4)
    vllm = told.tests["vllm bench serve"]
    assert vllm.value("--model") == told.launch.server[0].value("--alias") == "llama3-8b"
    assert vllm.value("--tokenizer") in told.estimate.plan.model.hub
    assert told.launch.server[0].value("--parallel") == "4"


# ── the command line and the documents ───────────────────────────────────────────────────────────


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["launch", "-m", "llama3-70b", "-g", "h100", "--tp", "4", "--rate", "4", "--goal", "ttft=500 ms"]
    assert main(asked) == 0
    shown = capsys.readouterr().out
    assert "vllm serve meta-llama/Meta-Llama-3-70B-Instruct \\\n" in shown
    assert "--goodput ttft:500" in shown
    assert main([*asked, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["server"][0]["argv"][:2] == ["vllm", "serve"]
    assert data["copies"] == 1
    assert data["context"] == 1280
    assert main([*asked, "--kubernetes"]) == 0
    kinds = [thing["kind"] for thing in yaml.safe_load_all(capsys.readouterr().out)]
    assert kinds == ["PersistentVolumeClaim", "Deployment", "Service"]


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--tp", "1"], 1, "does not fit"),
        (["--goal", "tffts=1 s"], 2, "did you mean ttft?"),
        (["--goal", "ttft=500"], 2, "--goal ttft=500: the time needs a unit"),
        (["--prefill-workers", "1"], 2, "belong together"),
        (["--prefill-tp", "1"], 2, "--prefill-tp is for"),
        (["--rate", "-1"], 2, "--rate must be"),
        (["--prompt", "9000"], 2, "more than llama3-70b takes (8,192)"),
        (["--engine", "mlx"], 2, "no command line is known"),
        (["--tp", "8", "--pp", "2", "--engine", "trtllm", "--kubernetes"], 2, "--kubernetes: several hosts need MPI"),
    ],
)
def test_wrong_questions(flags: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["launch", "-m", "llama3-70b", "-g", "h100", *flags]) == code
    told = capsys.readouterr()
    assert text in told.err
    assert not told.out


def test_a_named_repository_is_the_one_that_is_served() -> None:
    told = launched("NousResearch/Meta-Llama-3-70B", "h100", tp=4)
    assert told.launch.checkpoint == "NousResearch/Meta-Llama-3-70B"
    with pytest.raises(DoesNotFitError):
        launched("llama3-70b", "h100", tp=1)


def test_docs_list_every_flag_and_the_versions_that_were_read() -> None:
    text = (ROOT / "docs" / "launch.md").read_text(encoding="utf-8")
    for flag in FLAGS.values():
        assert f"`{flag.name}`" in text, flag
    for tool in TOOLS.values():
        assert all(version in text for version in tool.checked)
        assert tool.pages in text


def test_the_table_is_held_against_sources(tmp_path: Path) -> None:
    script = runpy.run_path(str(ROOT / "docs" / "flags.py"))
    folder = tmp_path / "vllm" / "benchmarks"
    folder.mkdir(parents=True)
    known = [flag.name for flag in FLAGS.values() if flag.tool == "vllm bench"]
    source = "\n".join(f'parser.add_argument("{name}")' for name in known)
    (folder / "serve.py").write_text(source, encoding="utf-8")
    assert script["main"](["vllm bench", "0.33.0", str(tmp_path)]) == 0
    (folder / "serve.py").write_text(source.replace('"--goodput"', '"--good"'), encoding="utf-8")
    assert script["differences"](tmp_path, "vllm bench", "0.33.0") == [
        "--goodput is written for vllm bench 0.33.0, whose source does not name it"
    ]
    assert script["main"](["vllm bench", "0.33.0", str(tmp_path)]) == 1
    assert script["main"](["nothing"]) == 2
