"""Llama 3 in torch: against transformers, against itself by other ways, and against what perfmodel counts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_llamas import V, ids, spec

from perfmodel.batch import Batch
from perfmodel.catalog import load_gpu, load_model
from perfmodel.cli.scripts import script
from perfmodel.deployment import Deployment
from perfmodel.errors import RequestError
from perfmodel.forward import forward
from perfmodel.huggingface import model_from_config
from perfmodel.op import totals
from perfmodel.precision import Precision

torch = pytest.importorskip("torch")
pytest.importorskip("safetensors")
llama, shapes, decoding = script("llama"), script("llama_shape"), script("decoding")
pytestmark = pytest.mark.usefixtures("one_thread")


def close(ours: Any, theirs: Any, tolerance: float = 1e-5) -> None:
    assert ours.shape == theirs.shape
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()


# ── against transformers ─────────────────────────────────────────────────────────────────────────


def theirs_of(heads: int, kv_heads: int, tied: bool, scaled: bool) -> Any:
    """A LlamaForCausalLM of random FP32 weights."""
    transformers = pytest.importorskip("transformers")
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0}
    if scaled:
        rope = {"rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0}
        rope |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 16}
    config = transformers.LlamaConfig(
        hidden_size=48,
        intermediate_size=80,
        num_hidden_layers=3,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=16,
        vocab_size=V,
        max_position_embeddings=128,
        tie_word_embeddings=tied,
        rope_parameters=rope,
        rms_norm_eps=1e-4,
        initializer_range=0.3,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(0)
    module = transformers.LlamaForCausalLM(config).eval().requires_grad_(False)
    for name, tensor in module.named_parameters():
        if "norm" in name:
            tensor.uniform_(0.5, 1.5)
    return module


def values_of(module: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(json.dumps(module.config.to_dict(), default=str))
    return values


@pytest.mark.parametrize("attention", ["sdpa", "naive"])
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "llama3"])
@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("heads", [(3, 3), (8, 2), (6, 1)], ids=["MHA", "GQA", "MQA"])
def test_logits_equal_transformers(
    heads: tuple[int, int], tied: bool, scaled: bool, attention: str, tmp_path: Path
) -> None:
    """Prompt and cached steps, with weights that passed through files, positions and ε through config.json."""
    module = theirs_of(*heads, tied, scaled)
    module.save_pretrained(tmp_path)
    model = model_from_config(values_of(module), "config.json")
    ours = llama.build(model, dtype="fp32", weights=tmp_path, attention=attention)
    text = ids(2, 40)
    expected = module(text, use_cache=False).logits
    close(ours(text), expected)
    ours.allocate(2, 40)
    close(ours.prefill(text[:, :30], every=True), expected[:, :30])
    for position in range(30, 40):
        close(ours.decode(text[:, position], position), expected[:, position])


def test_positions_of_spec_and_config_are_one() -> None:
    """What is not in a spec (the two frequencies) is what Llama's config.json says."""
    module = theirs_of(4, 2, tied=False, scaled=True)
    values = values_of(module)
    found = shapes.positions_stated(values)
    assert (
        found == shapes.positions_of(model_from_config(values, "config.json")) == shapes.Positions(5e5, 8, trained=16)
    )
    older = {"rope_theta": 5e5, "rope_scaling": {**values["rope_parameters"], "rope_theta": None}}
    assert shapes.positions_stated(older) == found
    close(found.turns(16), module.model.rotary_emb.inv_freq, 1e-6)
    assert shapes.positions_of(load_model("llama3.2-1b")) == shapes.Positions(factor=32)
    assert shapes.positions_of(load_model("llama3.1-8b")) == shapes.Positions(factor=8)
    assert shapes.positions_of(load_model("llama3-8b")) == shapes.Positions()


def test_positions_may_be_chosen() -> None:
    text = ids(1, 30)
    built = [
        llama.build(spec(), dtype="fp32", **choice)(text)
        for choice in (
            {},
            {"positions": shapes.Positions(5e5, 8, trained=16)},
            {"positions": shapes.Positions(1e4)},
            {"epsilon": 0.1},
            {"config": {"rope_theta": 1e4, "rms_norm_eps": 1e-5}},
        )
    ]
    assert torch.equal(built[0], built[1])
    assert torch.equal(built[2], built[4])
    for other in (built[2], built[3]):
        assert not torch.allclose(built[0], other, rtol=1e-3)


# ── against itself ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("dtype", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2), ("bf16", 6e-2)])
@pytest.mark.parametrize("attention", ["sdpa", "naive"])
def test_every_way_through_a_text_gives_the_same(attention: str, dtype: str, tolerance: float) -> None:
    """Computed afresh; whole prefill; sliced prefill; token by token; and with the naive attention in FP32."""
    ours = llama.build(spec(), dtype=dtype, attention=attention)
    text = ids(3, 23)
    afresh = ours(text)
    assert afresh.dtype is torch.float32
    assert ours.head.weight.dtype is llama.DTYPES[dtype]
    ours.allocate(3, 23)
    close(ours.prefill(text, every=True), afresh, tolerance)
    close(ours.prefill(text), afresh[:, -1], tolerance)
    for chunk in (1, 5, 22, 23, 100):
        close(ours.prefill(text, chunk=chunk, every=True), afresh, tolerance)
        close(ours.prefill(text, chunk=chunk), afresh[:, -1], tolerance)
    ours.allocate(3, 23)
    close(torch.stack([ours.decode(text[:, i], i) for i in range(23)], dim=1), afresh, tolerance)
    wide = llama.build(spec(), dtype="fp32", attention="naive")
    for mine, exact in zip(wide.parameters(), ours.parameters(), strict=True):
        mine.copy_(exact)
    close(afresh, wide(text), 3 * tolerance)


def test_going_back_rewinds_the_cache() -> None:
    ours = llama.build(spec(), dtype="fp32")
    ours.allocate(2, 40)
    first = ours.generate(ids(2, 10), 20)
    assert first.shape == (2, 20)
    ours.prefill(ids(2, 33), start=7)
    assert torch.equal(ours.generate(ids(2, 10), 20), first)
    text = torch.cat((ids(2, 10), first), dim=1)
    assert torch.equal(ours(text)[:, 9:-1].argmax(-1), first)


@pytest.mark.parametrize("attention", ["sdpa", "naive"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "traced"])
def test_steps_of_fixed_shapes_equal_growing_ones(compiled: bool, attention: str) -> None:
    """Under a mask over more keys than there are, and without one; the cache beyond holds what must not be seen."""
    torch.compiler.reset()
    ours = llama.build(spec(), dtype="fp32", attention=attention)
    text = ids(2, 30)
    ours.allocate(2, 30)
    ours.prefill(text)  # fills what later steps must not see
    masked = decoding.Step(ours, compiled=compiled, backend="aot_eager")
    for position in (20, 21, 29):
        close(masked(text[:, position], position), ours(text[:, : position + 1])[:, -1])
    exact = decoding.Step(ours, keys=26, masked=False, compiled=compiled, backend="aot_eager")
    close(exact(text[:, 25], torch.tensor([25])), ours.decode(text[:, 25], 25))


@pytest.mark.parametrize("T", [1, 4, 9])
def test_masks_that_kernels_know_equal_masks_written_out(T: int) -> None:
    """What a CUDA device is given for a slice of a prompt, against the plain definition."""
    from torch.nn.attention.bias import causal_lower_right

    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, heads, n, 16, generator=generator) for heads, n in ((6, T), (3, 9), (3, 9)))
    seen = torch.ones(T, 9, dtype=torch.bool).tril(9 - T)
    expected = llama.naive(q, k, v, seen)
    close(llama.sdpa(q, k, v, seen), expected)
    close(llama.sdpa(q, k, v, causal_lower_right(T, 9)), expected)
    close(llama.sdpa(q, k, v, "causal" if T == 9 else None), llama.naive(q, k, v, seen if T == 9 else None))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("masked", [True, False], ids=["masked", "exact"])
def test_graphs_equal_eager(masked: bool, compiled: bool) -> None:
    """Prefill in slices and a captured step on the device, against FP32 on the CPU."""
    torch.compiler.reset()
    exact, ours = llama.build(spec(), dtype="fp32"), llama.build(spec(), dtype="bf16", device="cuda")
    for mine, theirs in zip(ours.parameters(), exact.parameters(), strict=True):
        theirs.copy_(mine)
    ours.allocate(2, 32)
    step = decoding.Step(ours, keys=None if masked else 30, masked=masked, compiled=compiled, graph=True)
    text = ids(2, 30)
    close(ours.prefill(text[:, :29].cuda(), chunk=8).cpu(), exact(text[:, :29])[:, -1], 6e-2)
    close(step(text[:, 29].cuda(), 29).cpu(), exact(text)[:, -1], 6e-2)
    close(step(text[:, 29].cuda(), 29).cpu(), exact(text)[:, -1], 6e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.jit, which Inductor itself imports
def test_compiled_equals_eager() -> None:
    """By Inductor, which writes code of its own: a step at any position, and the whole model's prefill."""
    torch.compiler.reset()
    ours = llama.build(spec(), dtype="fp32")
    ours.allocate(2, 40)
    expected = ours.generate(ids(2, 9), 8)
    token = ours.prefill(ids(2, 9)).argmax(-1)
    step, made = decoding.Step(ours, compiled=True), [token]
    for position in range(9, 16):
        token = step(token, position).argmax(-1)
        made.append(token)
    assert torch.equal(torch.stack(made, dim=1), expected)
    eager = ours(ids(2, 17))
    ours.compile(fullgraph=True)
    close(ours(ids(2, 17)), eager)
    torch.compiler.reset()


def test_weights_are_those_of_the_seed() -> None:
    text = ids(1, 9)
    first, again, other = (llama.build(spec(), dtype="fp32", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first(text), again(text))
    assert not torch.equal(first(text), other(text))
    assert 0.3 < first(text).std() < 3  # products keep the size of what they are fed
    assert llama.build(spec(), layers=2, seed=1).shape.layers == 2


# ── against what perfmodel counts ────────────────────────────────────────────────────────────────

COUNTED = (
    "llama3-8b",
    "llama3.2-1b",
    "llama3.2-3b",
    "llama3.1-405b",
    "llama3.3-70b",
    "llama2-70b",
    "mistral-7b",
    "yi-6b",
)


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_and_bytes_are_those_counted(name: str) -> None:
    model, bf16 = load_model(name), Precision.plain("bf16")
    built = llama.build(model, device="meta")
    assert sum(p.numel() for p in built.parameters()) == model.total_parameters
    assert built.weight_bytes == sum(model.weight_bytes(bf16).values())
    built.allocate(sequences=3, length=1000)
    assert built.kv_bytes == 3 * model.kv_bytes(1000, bf16)
    assert built.weight_bytes == sum(model.weight_bytes(bf16).values())  # the cache is no weight


def test_fewer_layers_are_counted_as_of_a_model_with_fewer() -> None:
    model = load_model("llama3-8b")
    built = llama.build(model, device="meta", layers=5)
    assert sum(p.numel() for p in built.parameters()) == model.scaled(layers=5).total_parameters


@pytest.mark.parametrize("attention", ["sdpa", "naive"])
@pytest.mark.parametrize("shape", [(1, 23, 0), (3, 17, 0), (2, 5, 13), (4, 1, 7)], ids=str)
def test_flops_are_those_counted(shape: tuple[int, int, int], attention: str) -> None:
    """torch counts the whole square, as `full_square` does; its fused kernel for CPUs it does not count at all."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    sequences, tokens, cached = shape
    model = spec(heads=6, kv_heads=3)
    ours = llama.build(model, dtype="bf16", attention=attention)
    ours.allocate(sequences, cached + tokens)
    if cached:
        ours.prefill(ids(sequences, cached))
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        ours.prefill(ids(sequences, tokens), start=cached)
    plan = Deployment(model, load_gpu("h100"), Precision.plain("bf16"))
    counted = totals(forward(plan, Batch.prefill(sequences, tokens, cached)))
    assert counter.get_total_flops() == counted.matmul_flops_full_square


def test_the_cache_has_an_end() -> None:
    ours = llama.build(spec())
    with pytest.raises(RequestError, match="The cache has 0 positions"):
        ours.prefill(ids(1, 4))
    ours.allocate(1, 10)
    for tokens, start in ((11, 0), (4, 7), (0, 3)):
        with pytest.raises(RequestError, match=f"{tokens} tokens from position {start} on do not fit"):
            ours.at(start, tokens)
    for tokens, chunk in ((ids(1, 4)[0], None), (ids(1, 0), None), (ids(0, 4), None), (ids(1, 4), 0), (ids(1, 4), -1)):
        with pytest.raises(RequestError, match=r"prefill takes \[B, T\] tokens and chunks of 1 or more"):
            ours.prefill(tokens, chunk=chunk)
    with pytest.raises(RequestError, match="The cache is for 1 sequences; got 2"):
        ours.prefill(ids(2, 4))
    with pytest.raises(RequestError, match="cannot read 11 keys"):
        decoding.Step(ours, keys=11)
    with pytest.raises(RequestError, match="serves positions 6 to 6; got 5"):
        decoding.Step(ours, keys=7, masked=False)(torch.tensor([1]), 5)
    with pytest.raises(RequestError, match="CUDA graphs need a CUDA device"):
        decoding.Step(ours, graph=True)
