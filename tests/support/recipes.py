"""Random models of every architecture and kind of dictionary."""

from __future__ import annotations

from tests.support.random_models import Recipe

_GEMMA_4 = (
    ("hidden_size_per_layer_input", 5),
    ("vocab_size_per_layer_input", 40),
    ("layer_types", ("sliding_attention", "full_attention") * 3),
    ("global_head_dim", 8),
)
GEMMA_4 = [
    Recipe("gemma4_text", layers=6, options=(*_GEMMA_4, ("num_kv_shared_layers", 3))),
    Recipe(
        "gemma4_text",
        layers=6,
        cross_layer=True,
        skip=True,
        input_hook="hook_resid_mid",
        options=(*_GEMMA_4, ("num_kv_shared_layers", 4), ("use_double_wide_mlp", True)),
    ),
    Recipe(
        "gemma4_unified_text",
        layers=6,
        input_hook="ln2.hook_normalized",
        options=(
            *_GEMMA_4[2:],
            ("attention_k_eq_v", True),
            ("num_global_key_value_heads", 1),
        ),
    ),
    Recipe(
        "gemma4_text",
        layers=6,
        options=(
            ("hidden_size_per_layer_input", 0),
            *_GEMMA_4[2:],
            ("attention_k_eq_v", True),
            ("num_global_key_value_heads", 1),
            ("enable_moe_block", True),
            ("top_k_experts", 2),
        ),
    ),
]
"""The kinds of Gemma 4: with inputs by layer and shared values (E2B, E4B), dense, and with experts."""

TOKENS = [1, 7, 12, 30, 7, 25]


RECIPES = [
    Recipe("llama"),
    Recipe("llama", skip=True, activation="topk"),
    Recipe("llama", layers=3, cross_layer=True, activation="jumprelu", input_hook="hook_resid_mid"),
    Recipe("llama", cross_layer=True, skip=True),
    Recipe("mistral"),
    Recipe("qwen2"),
    Recipe("qwen3", input_hook="hook_resid_mid"),
    Recipe("gemma2", input_hook="ln2.hook_normalized", activation="jumprelu"),
    Recipe("gemma2", cross_layer=True, input_hook="hook_resid_mid"),
    Recipe("gemma3_text"),
    Recipe("gpt_oss"),
    Recipe("gpt2", key_value_heads=4),
    Recipe("gpt2", key_value_heads=4, input_hook="ln2.hook_normalized"),
    Recipe("gpt_neox", key_value_heads=4),
    Recipe("gpt_neox", key_value_heads=4, skip=True),
    *(
        Recipe("gpt_neox", key_value_heads=4, input_hook=hook, options=(("use_parallel_residual", False),))
        for hook in ("mlp.hook_in", "hook_resid_mid", "ln2.hook_normalized")
    ),
    Recipe("llama", cross_layer=True, skip=True, activation="gated"),
    Recipe("gemma"),
    Recipe("gemma", cross_layer=True, input_hook="hook_resid_mid", activation="jumprelu"),
    Recipe("mixtral"),
    Recipe("qwen2_moe"),
    Recipe("qwen3_moe", input_hook="ln2.hook_normalized"),
    Recipe("smollm3", layers=4),
    Recipe("phi3"),
    Recipe("phi3", skip=True, input_hook="ln2.hook_normalized"),
    Recipe("olmo2"),
    Recipe("olmo2", cross_layer=True, skip=True, input_hook="hook_resid_mid"),
    Recipe("olmo3", layers=3),
    *GEMMA_4,
]


def recipe_name(recipe: Recipe) -> str:
    kind = "clt" if recipe.cross_layer else "plt"
    options = [f"{key}={value}" for key, value in recipe.options if not isinstance(value, tuple)]
    parts = (recipe.model_type, kind, recipe.activation, recipe.input_hook)
    return "-".join((*parts, "skip" if recipe.skip else "plain", *options))
