"""What is asked of a launch beside the deployment itself."""

from __future__ import annotations

from dataclasses import dataclass

from perfmodel.launch.nodes import Nodes


@dataclass(frozen=True, slots=True)
class Asked:
    """What the commands of one copy are written for.

    version    of the engine
    context    tokens of the longest prompt and its output
    nodes      hosts of a copy
    checkpoint  repository or folder of the weights; None for what the model's file names
    port       that the server listens on
    prefix     whether requests share a prefix that the cache keeps
    offloaded  bytes of weights of one device that wait on the host
    sequences  most sequences at once, where the engine must be told and has no limit of its own (llama.cpp)
    """

    version: str
    context: int
    nodes: Nodes
    checkpoint: str | None = None
    port: int = 8000
    prefix: bool = False
    offloaded: float = 0.0
    sequences: int = 1
