"""Weights of `validate/llama.py`: random ones, or those of safetensors files under the names of transformers' Llama."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from perfmodel.errors import RequestError, one_line
from perfmodel.model import Model
from perfmodel.reading import read_json

from .llama_shape import LIKE_LLAMA

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"

# tensor of a layer here → those of transformers that it is made of, one above the other
_IN_LAYER = {
    "attention_norm.weight": ("input_layernorm",),
    "attention.qkv.weight": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "attention.out.weight": ("self_attn.o_proj",),
    "ffn_norm.weight": ("post_attention_layernorm",),
    "ffn.gate_up.weight": ("mlp.gate_proj", "mlp.up_proj"),
    "ffn.down.weight": ("mlp.down_proj",),
}
_AROUND = {"embedding.weight": "model.embed_tokens.weight", "norm.weight": "model.norm.weight"}
_AROUND |= {"head.weight": "lm_head.weight"}


def fill_randomly(llama: nn.Module, seed: int) -> None:
    """Norms 1, matrices normal with a variance of 1/inputs, so that every product keeps the size of what it is fed.

    The numbers are drawn on the model's device, whose generators differ: a seed means the same on like devices.
    """
    device = next(llama.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    for tensor in llama.parameters():
        if tensor.dim() == 1:
            nn.init.ones_(tensor)
        else:
            nn.init.normal_(tensor, std=tensor.shape[-1] ** -0.5, generator=generator)


def config_beside(model: Model, path: Path) -> Path | None:
    """The config.json beside a checkpoint; without one, only a Llama's weights are known to compute as they should."""
    file = (path if path.is_dir() else path.parent) / "config.json"
    if file.is_file():
        return file
    if not model.family.startswith(LIKE_LLAMA):
        raise RequestError(
            f"{path}: no config.json beside it says that {model.title} computes as Llama does; give config."
        )
    return None


def fill_from(llama: Any, path: Path) -> None:
    """Copy the weights of a checkpoint into the model, tensor by tensor, in the model's dtype."""
    with _Checkpoint(path) as checkpoint:
        wanted = set()
        for tensor, parts in _parts(llama):
            for part, (name, _) in zip(tensor.split([rows for _, rows in parts]), parts, strict=True):
                part.copy_(checkpoint.tensor(name, part))
                wanted.add(name)
        _no_more(checkpoint, wanted, llama.shape)


def named_as_transformers(llama: Any) -> dict[str, Tensor]:
    """The model's weights under the names of transformers; views, not copies."""
    found = {}
    for tensor, parts in _parts(llama):
        pieces = tensor.split([rows for _, rows in parts])
        found |= {name: piece for piece, (name, _) in zip(pieces, parts, strict=True)}
    return found


def _parts(llama: Any) -> Iterator[tuple[Tensor, list[tuple[str, int]]]]:
    """(a tensor of the model, the name and the rows of each tensor of transformers that it is made of)."""
    tensors, shape = dict(llama.named_parameters()), llama.shape  # a tied head is not named
    for ours, theirs in _AROUND.items():
        if ours in tensors:
            yield tensors[ours], [(theirs, len(tensors[ours]))]
    H, N, K, F = shape.head_size, shape.heads, shape.kv_heads, shape.ffn
    rows = {"attention.qkv.weight": (N * H, K * H, K * H), "ffn.gate_up.weight": (F, F)}
    for i in range(shape.layers):
        for ours, theirs in _IN_LAYER.items():
            tensor = tensors[f"layers.{i}.{ours}"]
            names = [f"model.layers.{i}.{name}.weight" for name in theirs]
            yield tensor, list(zip(names, rows.get(ours, (len(tensor),)), strict=True))


def _no_more(checkpoint: _Checkpoint, wanted: set[str], shape: Any) -> None:
    """Refuse what the model has no place for: a bias left out would change every result."""
    left_out = tuple(f"model.layers.{i}." for i in range(shape.layers, shape.whole))
    for name in checkpoint.files:
        copied = shape.tied and name == _AROUND["head.weight"]  # some files keep a tied head twice
        if not (name in wanted or copied or name.startswith(left_out) or name.endswith("rotary_emb.inv_freq")):
            raise checkpoint.error(f'has a tensor "{one_line(name[:80])}", which this model has no place for')


class _Checkpoint:
    """Tensors by name, in one safetensors file or in the shards of an index; no pickles, no code."""

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            path = next((file for name in (INDEX, SINGLE) if (file := path / name).is_file()), path / SINGLE)
        self.path = path
        try:
            from safetensors import SafetensorError, safe_open
        except ImportError:
            raise RequestError("Weights from files need safetensors: pip install safetensors.") from None
        self._open, self._broken = safe_open, SafetensorError
        if not path.is_file():
            raise self.error("does not exist; give a .safetensors file, its index.json, or the folder that holds it")
        self._opened: dict[Path, Any] = {}
        self.files = self._index() if path.suffix == ".json" else dict.fromkeys(self._file(path).keys(), path)

    def __enter__(self) -> _Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.clear()  # unmaps the files

    def error(self, told: str) -> RequestError:
        """One sentence that begins with the file."""
        return RequestError(f"{self.path}: {told}.")

    def _index(self) -> dict[str, Path]:
        """Tensor → shard, which must lie beside the index."""
        found = read_json(self.path, str(self.path))
        names = found.get("weight_map") if isinstance(found, dict) else None
        if not isinstance(names, dict) or not names:
            raise self.error('has no "weight_map" that tells the file of each tensor')
        for file in names.values():
            if not isinstance(file, str) or Path(file).name != file or not file.endswith(".safetensors"):
                raise self.error(f'names a shard "{one_line(str(file)[:80])}", which is no .safetensors file beside it')
        return {name: self.path.parent / file for name, file in names.items()}

    def _file(self, path: Path) -> Any:
        if path not in self._opened:
            try:
                self._opened[path] = self._open(path, framework="pt")
            except (self._broken, OSError, ValueError) as error:
                reason = " ".join(str(error).split())[:120]
                raise RequestError(f"{path}: is not a safetensors file that can be read ({reason}).") from None
        return self._opened[path]

    def tensor(self, name: str, like: Tensor) -> Tensor:
        """The tensor called `name`, which must be of the shape of `like` and of a plain floating dtype."""
        if name not in self.files:
            raise self.error(f'has no tensor "{name}"')
        file = self._file(self.files[name])
        if name not in file.keys():  # noqa: SIM118 — it is no mapping
            raise self.error(f'says that {self.files[name].name} has a tensor "{name}", which it has not')
        shape = tuple(file.get_slice(name).get_shape())
        if shape != tuple(like.shape):
            raise self.error(f'tensor "{name}" has the shape {list(shape)}; this model needs {list(like.shape)}')
        found: Tensor = file.get_tensor(name)
        if found.dtype not in (torch.bfloat16, torch.float16, torch.float32):
            raise self.error(f'tensor "{name}" is {str(found.dtype).removeprefix("torch.")}, not bf16, fp16 or fp32')
        return found
