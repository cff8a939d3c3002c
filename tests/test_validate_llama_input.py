"""What the torch Llama is built from: specs that it refuses, and weights in safetensors files."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from made_llamas import V, ids, spec

from perfmodel.catalog import load_model
from perfmodel.cli.scripts import script
from perfmodel.errors import RequestError

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")
llama, stored = script("llama"), script("llama_weights")


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def saved(folder: Path, change: Any = None, shards: bool = False) -> Path:
    """The weights of a small model in files; `change` edits them by name first."""
    built = llama.build(spec(), dtype="fp32", seed=5)
    tensors = {name: part.clone() for name, part in stored.named_as_transformers(built).items()}
    if change:
        change(tensors)
    if not shards:
        safetensors.save_file(tensors, folder / "model.safetensors")
        return folder / "model.safetensors"
    names = sorted(tensors)
    places = {name: f"model-{1 + i % 2}-of-2.safetensors" for i, name in enumerate(names)}
    for file in set(places.values()):
        safetensors.save_file({name: tensors[name] for name in names if places[name] == file}, folder / file)
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}), encoding="utf-8")
    return index


@pytest.mark.parametrize("shards", [False, True], ids=["one file", "shards"])
def test_weights_come_back_from_files(shards: bool, tmp_path: Path) -> None:
    file, text = saved(tmp_path, shards=shards), ids(2, 11)
    expected = llama.build(spec(), dtype="fp32", seed=5)
    for path in (file, tmp_path):
        assert torch.equal(llama.build(spec(), dtype="fp32", weights=path)(text), expected(text))
    assert llama.build(spec(), weights=file).head.weight.dtype is torch.bfloat16
    short = llama.build(spec(), dtype="fp32", weights=file, layers=2)  # the third layer's tensors are left alone
    assert torch.equal(short.layers[1].ffn.down.weight, expected.layers[1].ffn.down.weight)


K_PROJ = "model.layers.1.self_attn.k_proj.weight"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.update({K_PROJ: torch.zeros(7, 48)}), rf'"{K_PROJ}" has the shape \[7, 48\]; .* needs \[32, 48\]'),
        (lambda t: t.pop(K_PROJ), f'has no tensor "{K_PROJ}"'),
        (lambda t: t.update({K_PROJ: t[K_PROJ].double()}), f'"{K_PROJ}" is float64, not bf16, fp16 or fp32'),
        (lambda t: t.update({"model.layers.1.mlp.up_proj.bias": torch.zeros(80)}), "up_proj.bias.*no place for"),
        (lambda t: t.update({"model.layers.3.mlp.up_proj.weight": torch.zeros(80, 48)}), "layers.3.*no place for"),
        (lambda t: t.pop("lm_head.weight"), 'has no tensor "lm_head.weight"'),
    ],
    ids=["shape", "missing", "dtype", "bias", "further layer", "head"],
)
def test_wrong_tensors_are_named(change: Any, told: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=told):
        llama.build(spec(), weights=saved(tmp_path, change))


def test_wrong_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    index = saved(tmp_path, shards=True)
    for places, told in (
        ({"a": "../other.safetensors"}, "no .safetensors file beside it"),
        ({"a": "weights.bin"}, "no .safetensors file beside it"),
        ({"a": 3}, "no .safetensors file beside it"),
        ({}, 'no "weight_map"'),
        ({"model.embed_tokens.weight": "gone.safetensors"}, "cannot|No such|not a safetensors file"),
        ({"model.embed_tokens.weight": "model-1-of-2.safetensors"}, "which it has not"),
    ):
        index.write_text(json.dumps({"weight_map": places}), encoding="utf-8")
        with pytest.raises(RequestError, match=told):
            llama.build(spec(), weights=index)
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 100)
    with pytest.raises(RequestError, match="is not a safetensors file"):
        llama.build(spec(), weights=tmp_path / "broken.safetensors")
    with pytest.raises(RequestError, match=r"does not exist; give a \.safetensors file"):
        llama.build(spec(), weights=tmp_path / "nothing")
    with pytest.raises(RequestError, match=r"no config\.json beside it says that Small computes as Llama"):
        llama.build(spec(family="granite"), weights=tmp_path / "broken.safetensors")
    (tmp_path / "config.json").write_text('{"model_type": "granite"}', encoding="utf-8")
    with pytest.raises(RequestError, match='type "granite" computes otherwise'):
        llama.build(spec(), weights=tmp_path / "broken.safetensors")


def test_files_need_safetensors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "safetensors", None)
    with pytest.raises(RequestError, match="Weights from files need safetensors: pip install safetensors"):
        llama.build(spec(), weights=tmp_path)
    assert llama.build(spec(), layers=1)(ids(1, 3)).shape == (1, 3, V)  # random ones do not


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("mixtral-8x7b", "feed_forward experts"),
        ("deepseek-v3", "mixer latent"),
        ("mistral-7b-v0.1", "window 4096"),
        ("qwen2-7b", "qkv_bias True"),
        ("qwen3-8b", "qk_norm head"),
        ("olmo-2-7b", "layout post"),
        ("gemma-2b", "scaled_embeddings True"),
        ("gpt2", "learned_positions 1024"),
        ("falcon-7b", "norm layer"),
        ("mamba-130m", "mixer mamba"),
        ("llama3.3-nemotron-super-49b", "mixer of no kind"),
    ],
)
def test_other_architectures_are_refused(name: str, told: str) -> None:
    with pytest.raises(RequestError, match=rf"is not built like Llama 3, .*: {told}\.$"):
        llama.build(load_model(name), device="meta")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"feed_forward": {"activation": "gelu"}}, "activation gelu"),
        ({"feed_forward": {"bias": True}}, "bias True"),
        ({"mixer": {"rotary_size": 8}}, "rotary_size 8"),
        ({"mixer": {"output_bias": True}}, "output_bias True"),
        ({"mixer": {"sinks": True}}, "sinks True"),
        ({"block": {"layout": "parallel"}}, "layout parallel"),
        ({"head_bias": True}, "head_bias True"),
        ({"norm": "layer"}, "norm layer"),
        ({"bidirectional": True}, "bidirectional True"),
        ({"rope": None}, "states no rope"),
        ({"rope": {"theta": 1e4, "scaling": "yarn", "factor": 4}}, '"yarn" are not built'),
        ({"mixer": {"head_size": 15}}, "must be even"),
    ],
    ids=str,
)
def test_other_details_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        llama.build(spec(**changes), device="meta")


def test_layers_must_be_alike() -> None:
    block = spec().model_dump(exclude_none=True)["blocks"][0]
    wide = block | {"feed_forward": {"kind": "gated", "size": 96}}
    assert llama.build(spec(blocks=[block, block]), device="meta").shape.layers == 6
    with pytest.raises(RequestError, match="layers of several sizes"):
        llama.build(spec(blocks=[block, wide]), device="meta")


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        ({"dtype": "fp64"}, "dtype must be one of bf16, fp16, fp32; got fp64"),
        ({"attention": "ring"}, "attention must be one of sdpa, naive; got ring"),
        ({"layers": 0}, "layers must be a whole number of at least 1; got 0"),
        ({"layers": True}, "layers must be a whole number"),
        ({"layers": 9}, "Small has 3 layers; got layers 9"),
        ({"config": {}}, "must be a mapping"),
        ({"config": {"rope_theta": "big"}}, "rope_theta must be a number above 0"),
        ({"config": {"rms_norm_eps": -1}}, "rms_norm_eps must be a number above 0"),
        ({"config": {"rope_scaling": {"type": "linear", "factor": 2}}}, '"linear" are not built'),
        ({"config": {"rope_scaling": 3}}, "must be a mapping"),
    ],
    ids=str,
)
def test_wrong_choices_are_refused(choice: dict[str, Any], told: str) -> None:
    with pytest.raises(RequestError, match=told):
        llama.build(spec(), **choice)
