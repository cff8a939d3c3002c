"""A launch as Kubernetes objects: a Deployment and its Service, or a LeaderWorkerSet where a copy has several hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from perfmodel.deployment import Deployment
from perfmodel.launch.sheet import HEAD, Command, blank

RESOURCES = {"NVIDIA": "nvidia.com/gpu", "AMD": "amd.com/gpu"}
"""Vendor → what its device plugin calls a device (kubernetes.io, schedule GPUs)."""
# where engines publish their images, by version: vLLM docs (deployment/docker, nixl and MoRI pages), SGLang docs
# (get-started/install), TensorRT-LLM docs (commands/trtllm-serve), llama.cpp's tools/server/README.md
IMAGES = {
    ("vllm", "NVIDIA"): "vllm/vllm-openai:v{}",
    ("vllm", "AMD"): "vllm/vllm-openai-rocm:v{}",
    ("sglang", "NVIDIA"): "lmsysorg/sglang:v{}",
    ("trtllm", "NVIDIA"): "nvcr.io/nvidia/tensorrt-llm/release:{}",
    ("llama.cpp", "NVIDIA"): "ghcr.io/ggml-org/llama.cpp:server-cuda",
}
PROGRAMS = {"llama-server": "/app/llama-server", "python": "python3"}
"""Programs as images have them: llama.cpp's has its server in /app (.devops/cuda.Dockerfile), SGLang's has python3."""
CACHE = "/root/.cache/huggingface"
SECRET, TOKEN = "hf-token-secret", "token"
"""As vLLM's own manifests call them (docs/deployment/k8s.md)."""
SHARED_MEMORY = "16Gi"
"""Of /dev/shm, by which the processes of a host talk; vLLM's manifest of several hosts has 15Gi."""
START_S, EVERY_S = 3600, 10
"""Time in which weights must have been fetched and loaded, and how often is asked."""
ROOM = 1.2
"""Disk for weights: their size, and some more for files that lie beside them."""
_LEADER = {blank(HEAD): "$(LWS_LEADER_ADDRESS)"}


def dns_name(text: str) -> str:
    """`text` as a name that Kubernetes takes: a DNS label (RFC 1123), lower case, at most 63 characters.

    Room is left for what Kubernetes appends to it.
    """
    kept = re.sub(r"[^a-z0-9]+", "-", text.lower())[:40].strip("-")
    return kept if kept and kept[0].isalpha() else f"model-{kept}".rstrip("-")


def image(engine: str, vendor: str, version: str) -> str | None:
    """The engine's own image; None where it publishes none for the vendor's devices."""
    found = IMAGES.get((engine, vendor))
    return None if found is None else found.format(version)


def manifest(
    plan: Deployment,
    commands: Sequence[Command],
    version: str,
    port: int,
    copies: int,
    files: Mapping[str, str],
    weights_bytes: float,
) -> str:
    """The objects as YAML, of a deployment whose engine has an image for its devices."""
    import yaml

    engine = plan.engine.name
    found, resource = image(engine, plan.gpu.vendor, version), RESOURCES[plan.gpu.vendor]
    assert found is not None
    name = dns_name(f"{plan.model.name or 'model'}-{engine}")
    devices = plan.joined // len(commands)
    pods = [_pod(name, command, found, resource, devices, port, rank, files) for rank, command in enumerate(commands)]
    objects = [_claim(name, weights_bytes, copies * len(commands))]
    objects += [_settings(name, files)] if files else []
    if len(commands) == 1:
        objects += [_deployment(name, pods[0], copies), _service(name, {"app": name}, port)]
    else:
        leader = {"leaderworkerset.sigs.k8s.io/name": name, "role": "leader"}
        objects += [_leader_worker_set(name, pods, copies, len(commands)), _service(name, leader, port)]
    return str(yaml.safe_dump_all(objects, sort_keys=False, allow_unicode=True, width=1000))


def _claim(name: str, weights_bytes: float, pods: int) -> dict[str, Any]:
    """A volume for the weights: written by one pod, or by several at once."""
    mode = "ReadWriteOnce" if pods == 1 else "ReadWriteMany"
    size = f"{max(ceil(weights_bytes * ROOM / 2**30), 1)}Gi"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}},
    }


def _settings(name: str, files: Mapping[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": dict(files)}


def _deployment(name: str, pod: dict[str, Any], copies: int) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {
            "replicas": copies,
            "selector": {"matchLabels": {"app": name}},
            # a new pod finds no free devices while the old one holds them
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


def _leader_worker_set(name: str, pods: Sequence[dict[str, Any]], copies: int, hosts: int) -> dict[str, Any]:
    """The first host leads, the others are alike: their number comes from LWS_WORKER_INDEX."""
    return {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": copies,
            "leaderWorkerTemplate": {
                "size": hosts,
                "restartPolicy": "RecreateGroupOnPodRestart",
                "leaderTemplate": {"metadata": {"labels": {"role": "leader"}}, "spec": pods[0]},
                "workerTemplate": {"spec": pods[1]},
            },
        },
    }


def _service(name: str, selector: dict[str, str], port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": "http", "protocol": "TCP", "port": port, "targetPort": port}],
        },
    }


def _pod(
    name: str,
    command: Command,
    found: str,
    resource: str,
    devices: int,
    port: int,
    rank: int,
    files: Mapping[str, str],
) -> dict[str, Any]:
    mounts = [{"name": "cache", "mountPath": CACHE}, {"name": "shm", "mountPath": "/dev/shm"}]
    volumes: list[dict[str, Any]] = [
        {"name": "cache", "persistentVolumeClaim": {"claimName": name}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": SHARED_MEMORY}},
    ]
    if files:
        mounts.append({"name": "settings", "mountPath": "/etc/perfmodel"})
        volumes.append({"name": "settings", "configMap": {"name": name}})
    program, *arguments = [_inside(word, files) for word in command.argv]
    token = {"secretKeyRef": {"name": SECRET, "key": TOKEN, "optional": True}}
    container: dict[str, Any] = {
        "name": "server",
        "image": found,
        "command": [PROGRAMS.get(program, program)],
        "args": _ranked(arguments),
        "env": [{"name": "HF_TOKEN", "valueFrom": token}],
        "resources": {"limits": {resource: str(devices)}},
        "volumeMounts": mounts,
    }
    if rank == 0:
        container |= {"ports": [{"name": "http", "containerPort": port}]} | _probes()
    return {"containers": [container], "volumes": volumes}


def _probes() -> dict[str, Any]:
    """The server answers /health once weights are loaded (each engine's documentation of its server)."""
    patience = {"startupProbe": START_S // EVERY_S, "readinessProbe": 3, "livenessProbe": 6}
    return {
        probe: {
            "httpGet": {"path": "/health", "port": "http"},
            "periodSeconds": EVERY_S,
            "timeoutSeconds": 5,
            "failureThreshold": failures,
        }
        for probe, failures in patience.items()
    }


def _inside(word: str, files: Mapping[str, str]) -> str:
    """A word as it is inside a pod: files lie in the mounted folder, and the leader has an address."""
    if word in files:
        return f"/etc/perfmodel/{word}"
    for place, variable in _LEADER.items():
        if place in word:
            return word.replace(place, variable)
    # Kubernetes expands $(NAME) in arguments; a name that is meant as such is kept by doubling it
    return word.replace("$(", "$$(")


def _ranked(words: Sequence[str]) -> list[str]:
    """The arguments of a host, whose number differs from pod to pod."""
    found, before = [], ""
    for word in words:
        found.append("$(LWS_WORKER_INDEX)" if before == "--node-rank" else word)
        before = word
    return found
