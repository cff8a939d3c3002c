"""One decode step of `validate/llama.py` with fixed shapes, as torch.compile and CUDA graphs need it.

Run eagerly, each step reads exactly the keys there are, so its shapes grow. Here the position is a number on the
device, and attention reads a fixed count of `keys`: the whole cache under a mask, so that one compiled or captured step
serves every position; or exactly position + 1 without a mask, which is flash attention at one context, as it is timed.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from perfmodel.errors import RequestError

WARM_UPS = 3  # runs before a capture: libraries allocate their workspaces in the first ones


class Step:
    """Decode one token of each sequence: `step(token [B], position)` → logits [B, V].

    keys      positions that attention reads; the whole cache by default
    masked    False promises that every step stands at position keys − 1
    compiled  through torch.compile; each Step with other `keys` compiles anew, and after eight of them torch asks
              for torch.compiler.reset()
    graph     captured once as a CUDA graph, and replayed; the logits are overwritten by the next call

    It holds the cache that was allocated when it was made. A capture runs the step, and so leaves what means nothing at
    position keys − 1 of the cache: make the step before that position is filled.
    """

    def __init__(
        self,
        llama: Any,
        keys: int | None = None,
        masked: bool = True,
        compiled: bool = False,
        graph: bool = False,
        backend: str = "inductor",
    ) -> None:
        device = llama.embedding.weight.device
        self.llama, self.keys, self.masked = llama, llama.length if keys is None else keys, masked
        if not 0 < self.keys <= llama.length:
            raise RequestError(f"The cache has {llama.length} positions; a step cannot read {self.keys} keys of it.")
        if graph and device.type != "cuda":
            raise RequestError(f"CUDA graphs need a CUDA device; the model is on {device.type}.")
        self.token = torch.zeros(llama.sequences, dtype=torch.long, device=device)
        self.position = torch.full((1,), self.keys - 1, dtype=torch.long, device=device)
        self.run: Any = self._run
        if compiled:
            self.run = torch.compile(self._run, fullgraph=True, dynamic=False, backend=backend)
        self.graph = self._captured() if graph else None

    def __call__(self, token: Tensor, position: int | Tensor) -> Tensor:
        """[B] tokens at `position` → [B, V] logits of the next."""
        if isinstance(position, int):
            least = 0 if self.masked else self.keys - 1
            if not least <= position < self.keys:
                raise RequestError(f"This step serves positions {least} to {self.keys - 1}; got {position}.")
            self.position.fill_(position)
        else:
            self.position.copy_(position)
        self.token.copy_(token)
        if self.graph is None:
            logits: Tensor = self.run(self.token, self.position)
            return logits
        self.graph.replay()
        return self.logits

    def _run(self, token: Tensor, position: Tensor) -> Tensor:
        place = self.llama.at_tensor(position, self.keys, self.masked)
        logits: Tensor = self.llama(token[:, None], place)[:, -1]
        return logits

    def _captured(self) -> Any:
        """The step as a CUDA graph; it reads self.token and self.position, and writes self.logits."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UPS):
                self.run(self.token, self.position)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            self.logits = self.run(self.token, self.position)
        return graph
