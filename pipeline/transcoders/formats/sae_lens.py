"""Reader of SAELens transcoders: `cfg.json` and `sae_weights.safetensors`, a folder a layer.

`W_enc` (d,F), `W_dec` (F,d), `b_enc`, `b_dec`, optional `threshold` (F) and `W_skip` (d,d; applied as
`x @ W_skip^T`). Architectures `transcoder` (ReLU, or a TopK of rectified values) and `jumprelu_transcoder`,
both with `skip_` before `transcoder` when they have a skip path. The configuration, newer ones under
`metadata`, names the hook points as `blocks.3.ln2.hook_normalized`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import TranscoderError
from pipeline.transcoders.activation import Activation, ReLU, top_k
from pipeline.transcoders.formats.folder import (
    FileFormat,
    holds,
    layer_config,
    layer_files,
    refuse_unknown_keys,
    section,
)
from pipeline.transcoders.formats.layout import LayerFile, LayerLayout, clamped_threshold, read_set
from pipeline.transcoders.hook_points import (
    NO_AUTOENCODER,
    NamedPoint,
    Points,
    agreed,
    check_layers,
    named_point,
)
from pipeline.transcoders.selection import layer_of
from pipeline.transcoders.tensors import TensorFile
from pipeline.transcoders.transcoders import Transcoders
from pipeline.untrusted import cut

_FILE = "sae_weights.safetensors"

_KEYS = {
    *("architecture", "d_in", "d_sae", "d_out", "dtype", "device", "metadata", "k"),
    *("activation_fn", "activation_fn_str", "activation_fn_kwargs", "normalize_activations"),
    *("hook_name", "hook_name_out", "hf_hook_name", "hf_hook_name_out", "hook_head_index"),
}
"""Keys that are read here, or that change nothing."""

_OLDER_KEYS = {
    *("model_name", "model_class_name", "model_kwargs", "model_from_pretrained_kwargs", "neuronpedia_id"),
    *(
        "hook_eval",
        "hook_layer",
        "hook_layer_out",
        "hook_head_index_out",
        "prepend_bos",
        "context_size",
        "seed",
    ),
    *("dataset_path", "dataset_trust_remote_code", "streaming", "is_dataset_tokenized", "seqpos_slice"),
    *("use_cached_activations", "cached_activations_path", "from_pretrained_path", "n_batches_in_buffer"),
    *("training_tokens", "finetuning_tokens", "store_batch_size_prompts", "train_batch_size_tokens"),
    *("act_store_device", "autocast", "autocast_lm", "compile_llm", "llm_compilation_mode", "compile_sae"),
    *("sae_compilation_mode", "adam_beta1", "adam_beta2", "lr", "lr_scheduler_name", "lr_warm_up_steps"),
    *("lr_end", "lr_decay_steps", "n_restart_cycles", "l1_coefficient", "l1_warm_up_steps", "lp_norm"),
    *("mse_loss_normalization", "scale_sparsity_penalty_by_decoder_norm", "use_ghost_grads", "noise"),
    *("dead_feature_window", "feature_sampling_window", "dead_feature_threshold", "n_eval_batches"),
    *("eval_batch_size_prompts", "log_to_wandb", "wandb_project", "wandb_id", "wandb_entity", "run_name"),
    *("wandb_log_frequency", "eval_every_n_wandb_logs", "logger", "resume", "n_checkpoints", "verbose"),
    *("checkpoint_path", "output_path", "expansion_factor", "b_dec_init_method", "decoder_init_norm"),
    *("decoder_orthogonal_init", "decoder_heuristic_init", "decoder_heuristic_init_norm"),
    *("init_encoder_as_decoder_transpose", "normalize_sae_decoder", "jumprelu_init_threshold"),
    *("jumprelu_bandwidth", "sae_lens_version", "sae_lens_training_version", "exclude_special_tokens"),
    *("tokens_per_buffer", "effective_size", "disable_concat_sequences", "sequence_separator_token"),
    *("activations_mixing_fraction", "n_batches_for_norm_estimate", "model_batch_size"),
}
"""Keys of training and of the data, which older versions wrote beside the dictionary's own."""

_ARCHITECTURES = ("transcoder", "skip_transcoder", "jumprelu_transcoder", "jumprelu_skip_transcoder")


def read(folder: Path, name: str) -> Transcoders:
    """Read a folder with a folder for each layer."""
    return read_files(layer_files(folder, (_FILE,), layer=_layer_by_hook), name)


def read_files(paths: Sequence[Path], name: str) -> Transcoders:
    """Read one file a layer."""
    return read_set(paths, LAYOUT, name)


def _matches(tensors: TensorFile) -> bool:
    # The names are circuit-tracer's too, but here the encoder lies across the decoder.
    encoder, decoder = (tensors.tensors.get(key) for key in ("W_enc", "W_dec"))
    if encoder is None or decoder is None or tensors.path.suffix == ".npz":
        return False
    # circuit-tracer's first version has them across each other too, the other way round: the bias tells.
    bias = tensors.tensors.get("b_enc")
    return encoder.shape == decoder.shape[::-1] != decoder.shape and (
        bias is None or bias.shape == encoder.shape[1:]
    )


def _activation(file: LayerFile, n_features: int) -> Activation:
    path, config = layer_config(file.tensors.path)
    _check(path, config)
    if _said(config, "hook_head_index") is not None:
        raise TranscoderError(
            f"{path}: hook_head_index is {cut(_said(config, 'hook_head_index'))}: a dictionary of one head "
            "cannot stand in for an MLP."
        )
    if "threshold" in file.tensors or str(config["architecture"]).startswith("jumprelu"):
        return clamped_threshold(file, n_features)
    named = str(config.get("activation_fn") or config.get("activation_fn_str") or "relu").lower()
    if named == "topk":
        arguments = section(config, "activation_fn_kwargs", path)
        return top_k(config.get("k", arguments.get("k")), n_features, path, rectified=True)
    if named == "relu":
        return ReLU()
    raise TranscoderError(f"{path}: activation_fn is {cut(named)}; it must be relu or topk.")


def _check(path: Path, config: dict[str, Any]) -> None:
    if config.get("architecture") not in _ARCHITECTURES:
        raise TranscoderError(
            f"{path}: architecture is {cut(config.get('architecture'))}; transcoders have "
            f"{', '.join(_ARCHITECTURES)}, and {NO_AUTOENCODER}."
        )
    refuse_unknown_keys(path, config, _KEYS | _OLDER_KEYS)
    if config.get("normalize_activations") not in (None, "none"):
        raise TranscoderError(
            f"{path}: normalize_activations is {cut(config['normalize_activations'])}; it must be none: "
            "fold the normalisation into the weights with SAELens and save them again."
        )


def _points(file: LayerFile) -> Points:
    path, config = layer_config(file.tensors.path)
    _check(path, config)  # an autoencoder has no place to write to
    reads = _named(config, "read", path, "hook_name", "hf_hook_name")
    writes = _named(config, "write", path, "hook_name_out", "hf_hook_name_out")
    check_layers([*reads, *writes], file.layer, path)
    if len(reads) == 2 and str(_said(config, "hook_name")).endswith("hook_mlp_in"):
        reads = reads[1:]  # newer saves of Gemma Scope 2 call the MLP's input so: the other name decides
    return Points(agreed(reads, path), agreed(writes, path))


def _named(
    config: dict[str, Any], side: Literal["read", "write"], path: Path, key: str, other: str
) -> list[NamedPoint]:
    """Return the point under a key, and the same one in Hugging Face's words where it is there too."""
    named = [named_point(_said(config, key), side, path, key)]
    if _said(config, other) is not None:
        named.append(named_point(_said(config, other), side, path, other))
    return named


def _said(config: dict[str, Any], key: str) -> Any:
    metadata = config.get("metadata")
    found = metadata.get(key) if isinstance(metadata, dict) else None
    return config.get(key) if found is None else found


def _layer_by_hook(weights: Path) -> int | None:
    _, config = layer_config(weights)
    return layer_of(str(_said(config, "hook_name")))


LAYOUT = LayerLayout(matches=_matches, activation=_activation, encoder_is_transposed=True, points=_points)

FORMAT = FileFormat(
    name="SAELens",
    files="`cfg.json` and `sae_weights.safetensors` in a folder a layer",
    kinds="PLT, skip",
    activations="ReLU, JumpReLU, TopK",
    published="",
    matches=lambda folder: holds(folder, _FILE),
    read=read,
    layout=LAYOUT,
    read_files=read_files,
)
