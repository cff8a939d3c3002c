"""Every family's config.json against the module of transformers and torch's FLOP counter: equal to the last unit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perfmodel.cli.scripts import script
from perfmodel.huggingface import known_types, model_from_config
from perfmodel.huggingface.families import FAMILIES, SAME_AS

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
ROOT = Path(__file__).parent.parent
checks = script("families")
BUILT = [family for family in FAMILIES if family in checks.CONFIG_MAPPING]
# published configs, and the totals that their checkpoints have: of families that transformers has no code of, and of
# two that the catalogue lacks
ELSEWHERE: dict[str, tuple[int, dict[str, Any]]] = {
    "qwen": (
        7_721_324_544,
        {  # Qwen/Qwen-7B
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 22016,
            "vocab_size": 151936,
            "seq_length": 8192,
            "kv_channels": 128,
            "no_bias": True,
        },
    ),
    "internlm2": (
        7_737_708_544,
        {  # internlm/internlm2_5-7b-chat
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "bias": False,
            "intermediate_size": 14336,
            "vocab_size": 92544,
            "max_position_embeddings": 32768,
            "tie_word_embeddings": False,
        },
    ),
    "baichuan": (
        7_505_973_248,
        {  # baichuan-inc/Baichuan2-7B-Base
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 11008,
            "vocab_size": 125696,
            "model_max_length": 4096,
            "tie_word_embeddings": False,
        },
    ),
    "exaone": (
        7_818_448_896,
        {  # LGAI-EXAONE/EXAONE-3.0-7.8B-Instruct
            "hidden_size": 4096,
            "num_layers": 32,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 14336,
            "vocab_size": 102400,
            "max_position_embeddings": 4096,
            "activation_function": "silu",
        },
    ),
    "chatglm": (
        9_399_951_360,
        {  # THUDM/glm-4-9b-chat
            "hidden_size": 4096,
            "num_layers": 40,
            "num_attention_heads": 32,
            "multi_query_attention": True,
            "multi_query_group_num": 2,
            "ffn_hidden_size": 13696,
            "kv_channels": 128,
            "padded_vocab_size": 151552,
            "seq_length": 131072,
            "add_qkv_bias": True,
            "add_bias_linear": False,
        },
    ),
    "deepseek": (
        16_375_728_128,
        {  # deepseek-ai/deepseek-moe-16b-base
            "hidden_size": 2048,
            "num_hidden_layers": 28,
            "num_attention_heads": 16,
            "num_key_value_heads": 16,
            "intermediate_size": 10944,
            "moe_intermediate_size": 1408,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_experts_per_tok": 6,
            "first_k_dense_replace": 1,
            "moe_layer_freq": 1,
            "vocab_size": 102400,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
        },
    ),
    "vaultgemma": (
        1_038_741_120,
        {  # google/vaultgemma-1b
            "hidden_size": 1152,
            "intermediate_size": 6912,
            "num_hidden_layers": 26,
            "num_attention_heads": 4,
            "num_key_value_heads": 4,
            "head_dim": 256,
            "vocab_size": 256000,
        },
    ),
    "nanochat": (
        560_988_160,
        {  # nanochat-students/nanochat-d20
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 20,
            "num_attention_heads": 10,
            "num_key_value_heads": 10,
            "vocab_size": 65536,
            "tie_word_embeddings": False,
        },
    ),
    "llada": (
        8_015_581_184,
        {  # GSAI-ML/LLaDA-8B-Base
            "d_model": 4096,
            "n_layers": 32,
            "n_heads": 32,
            "n_kv_heads": 32,
            "mlp_hidden_size": 12288,
            "vocab_size": 126464,
            "embedding_size": 126464,
            "max_sequence_length": 4096,
            "weight_tying": False,
            "activation_type": "silu",
            "include_qkv_bias": False,
            "rope_theta": 500000.0,
        },
    ),
    "dream": (
        7_615_616_512,
        {  # Dream-org/Dream-v0-Base-7B
            "hidden_size": 3584,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "intermediate_size": 18944,
            "vocab_size": 152064,
            "max_position_embeddings": 131072,
            "tie_word_embeddings": False,
        },
    ),
}
# read by name alone, from configs that are shaped like others: Llama, InternLM 2, Qwen 2 with more heads
ALIKE = {"yi": "llama", "internlm": "internlm2", "mimo": "qwen2", "nemotron-nas": "llama"}


def test_there_are_enough_families() -> None:
    assert len(BUILT) >= 100
    assert {*BUILT, *ELSEWHERE, *ALIKE} == set(FAMILIES)
    assert set(SAME_AS.values()) <= set(FAMILIES)
    assert set(known_types()) == {*FAMILIES, *SAME_AS}


@pytest.mark.parametrize("family", BUILT)
def test_parameters_equal_transformers(family: str) -> None:
    """Total, embedding, active, and those of each layer, at the sizes of the class's default config."""
    ours, theirs = checks.parameters_of(family)
    assert ours == theirs


@pytest.mark.parametrize("family", BUILT)
def test_flops_equal_torch(family: str) -> None:
    """Products with weights and softmax attention, in prefill and in a cached decode step, on a small real model."""
    ours, theirs = checks.flops_of(family)
    assert ours == theirs
    assert len(ours) == (1 if family in checks.NO_CACHE else 2)


@pytest.mark.parametrize("family", [f for f in BUILT if f not in checks.NO_CACHE])
def test_cache_bytes_equal_the_tensors(family: str) -> None:
    ours, theirs = checks.cache_of(family)
    assert ours == theirs > 0


@pytest.mark.parametrize("family", BUILT)
def test_weights_are_read_once_and_are_those_held(family: str) -> None:
    """The ops of a pass that touches every expert read just the bytes that memory holds, but for table look-ups."""
    from perfmodel.batch import Batch
    from perfmodel.precision import Precision

    model = model_from_config(checks.config_json(checks.small_config(family)), family)
    batch = Batch.prefill(1, 100_000)
    ops = [op for op in checks.ops_of(model, batch) if op.kind != "gather"]
    tables = ("embedding", "positions", "per_layer_table")
    held = model.weight_bytes(Precision.plain("bf16"))
    expected = sum(size for name, size in held.items() if name not in tables)
    expected += held["embedding"] if model.tied_embeddings else 0  # the LM head reads it whole
    if (
        model.per_layer_table
    ):  # of the table's bundle, the projection of the stream is read whole; its norm is not told apart
        expected += 2 * model.hidden_size * model.per_layer_table.size * model.layers
    each = [(b, b.parameters(model.hidden_size, model.norm)) for b in model.blocks]
    # shared weights are held once and read at each use; what serves images is held, and not read for text
    for block, sizes in each:
        used = sum(size for name, size in sizes.items() if not name.startswith("adapter."))
        expected += 2 * (block.repeat - (block.copies or block.repeat)) * used
        expected -= 2 * block.repeat * used if block.idle else 0
    read = sum(op.weight_bytes * op.repeat for op in ops)
    assert read == pytest.approx(expected, rel=1e-9), family


@pytest.mark.parametrize("tp", [2, 4])
@pytest.mark.parametrize("family", BUILT)
def test_devices_share_weights_and_work(family: str, tp: int) -> None:
    """What devices do together is at least the whole, and each does less; what each reads is what it holds."""
    from perfmodel.batch import Batch
    from perfmodel.deployment import Deployment
    from perfmodel.precision import Precision

    model, bf16 = model_from_config({"model_type": family, **SHAPED.get(family, {})}, family), Precision.plain("bf16")
    if any(block.split_error(tp) for block in model.blocks):
        pytest.skip(next(e for block in model.blocks if (e := block.split_error(tp))))
    batch = Batch.prefill(2, 50_000)
    plan = Deployment(model, checks.load_gpu("h100"), bf16)
    whole, share = (checks.forward(plan.split(n, 1), batch) for n in (1, tp))
    for kinds in (("gemm",), ("attention",), ("scan",)):
        alone, shared = (sum(op.flops * op.repeat for op in ops if op.kind in kinds) for ops in (whole, share))
        assert alone <= shared * tp * (1 + 1e-9), kinds
        assert shared <= alone, kinds
        assert shared < 0.8 * alone or alone == 0, kinds
    held, part = (sum(model.weight_bytes(bf16, n).values()) for n in (1, tp))
    assert held / tp <= part < 0.9 * held
    kept, kept_on_each = (model.kv_bytes(1000, bf16, n) for n in (1, tp))
    assert kept / tp <= kept_on_each <= kept


SHAPED: dict[str, dict[str, Any]] = {
    "deepseek_v2": {"num_experts_per_tok": 6},
    "dots1": {"n_routed_experts": 128, "num_experts_per_tok": 6},
    "glm4_moe": {"head_dim": 128},
    "nemotron_h": {"hybrid_override_pattern": "M*-E"},
    "zamba2": {"hybrid_layer_ids": [6, 12, 18, 24, 30, 36, 42, 47, 51]},
}


@pytest.mark.parametrize("family", ELSEWHERE)
def test_published_totals(family: str) -> None:
    total, values = ELSEWHERE[family]
    assert model_from_config({"model_type": family, **values}, family).total_parameters == total


def test_nemotron_nas_counts_each_layer_for_itself() -> None:
    """Puzzle's layers: some without attention, some narrow; worked by hand."""
    values = {
        "model_type": "nemotron-nas",
        "hidden_size": 512,
        "num_hidden_layers": 3,
        "num_attention_heads": 8,
        "vocab_size": 1000,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": False,
        "num_key_value_heads": None,
        "intermediate_size": None,
        "block_configs": [
            {"attention": {"n_heads_in_group": 4, "no_op": False}, "ffn": {"ffn_mult": 3.0, "no_op": False}},
            {"attention": {"n_heads_in_group": None, "no_op": True}, "ffn": {"ffn_mult": 1.5, "no_op": False}},
            {"attention": {"n_heads_in_group": 8, "no_op": False}, "ffn": {"ffn_mult": None, "no_op": True}},
        ],
    }
    model = model_from_config(values, "config.json")
    attention = 2 * 512 * 512
    first = attention + 2 * 512 * 2 * 64 + 3 * 512 * 1024 + 2 * 512
    second, third = 3 * 512 * 512 + 512, attention + 2 * 512 * 64 + 512
    assert model.total_parameters == 2 * 1000 * 512 + 512 + first + second + third
    assert model.order is None
    assert [b.repeat for b in model.blocks] == [1, 1, 1]


def test_the_matrix_of_the_docs_has_every_family() -> None:
    page = (ROOT / "docs" / "architectures.md").read_text(encoding="utf-8")
    rows = {line.split("`")[1]: line for line in page.splitlines() if line.startswith("| `")}
    assert sorted(rows) == sorted(FAMILIES)
    for family in BUILT:
        assert rows[family].count("equal") >= (2 if family in checks.NO_CACHE else 3), family


def test_the_defaults_are_those_of_the_classes() -> None:
    """What stands for fields that a config leaves out, where the installed transformers is the one it is from."""
    import json

    kept = json.loads((ROOT / "perfmodel" / "huggingface" / "defaults.json").read_text(encoding="utf-8"))
    if kept["transformers"] != transformers.__version__:
        pytest.skip(f"made with transformers {kept['transformers']}")
    assert kept == json.loads(json.dumps(script("config_defaults").document()))


@pytest.mark.parametrize("family", BUILT)
def test_laws(family: str) -> None:
    """Longer is never cheaper, more sequences never less, faster memory never slower; bound ≤ low ≤ expected ≤ high."""
    from perfmodel.deployment import Deployment, precision_for
    from perfmodel.latency import latency
    from perfmodel.precision import Precision
    from perfmodel.workload import Workload

    model, gpu = model_from_config({"model_type": family, **SHAPED.get(family, {})}, family), checks.load_gpu("h200")
    plan = Deployment(model, gpu, precision_for(gpu))
    fast = Deployment(model, gpu.model_copy(update={"memory_bandwidth": 2 * gpu.memory_bandwidth}), precision_for(gpu))
    before: Any = None
    for prompt in (10, 1000, 30_000):
        for batch in (1, 16):
            found = latency(plan, Workload(prompt, 9, batch))
            faster = latency(fast, Workload(prompt, 9, batch))
            for time, other in ((found.ttft, faster.ttft), (found.tpot, faster.tpot)):
                assert 0 < time.bound <= time.low * (1 + 1e-12)
                assert time.low <= time.expected <= time.high
                assert other.expected <= time.expected * (1 + 1e-12)
                assert other.bound <= time.bound * (1 + 1e-12)
            if batch == 16 and before is not None:
                assert found.ttft.expected > before.ttft.expected
            if batch == 16:
                before = found
    bf16 = Precision.plain("bf16")
    kept = [model.kv_bytes(tokens, bf16) for tokens in (0, 1, 100, 10_000, 10**6)]
    assert kept == sorted(kept)
    assert model.active_parameters <= model.total_parameters
