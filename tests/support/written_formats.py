"""Small random dictionaries, written in each format's own files, with the formula of that format beside them.

A formula takes what each layer reads, (L, T, d), and returns activations (L, T, F) and outputs (L, T, d).
None of them uses the code under test.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from safetensors.torch import save_file
from torch import Tensor

L, F, D, K = 3, 11, 6, 4

Formula = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Written:
    folder: Path
    formula: Formula
    hooks: tuple[str, str]
    cross_layer: bool = False


def random(*shape: int) -> Tensor:
    return torch.randn(*shape)


def config(folder: Path, **keys: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(keys))


def _per_layer(
    encode: Callable[[int, Tensor], Tensor], decode: Callable[[int, Tensor, Tensor], Tensor]
) -> Formula:
    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        activations = torch.stack([encode(index, read) for index, read in enumerate(inputs)])
        return activations, torch.stack(
            [decode(index, active, inputs[index]) for index, active in enumerate(activations)]
        )

    return formula


def _topk(values: Tensor, k: int) -> Tensor:
    cut = values.sort(-1, descending=True).values[..., k - 1 : k]
    return torch.where(values >= cut, values, 0.0)


def _jump(values: Tensor, threshold: Tensor) -> Tensor:
    return values * (values > threshold)


def circuit_tracer_plt(folder: Path, activation: str = "jumprelu", skip: bool = True) -> Written:
    layers = [
        {"W_enc": random(F, D), "b_enc": random(F), "W_dec": random(F, D), "b_dec": random(D)}
        for _ in range(L)
    ]
    keys = {"activation": "topk", "k": K} if activation == "topk" else {}
    for index, layer in enumerate(layers):
        if skip:
            layer["W_skip"] = random(D, D)
        if activation == "jumprelu":
            layer["activation_function.threshold"] = torch.rand(F)
        folder.mkdir(parents=True, exist_ok=True)
        save_file(layer, folder / f"layer_{index}.safetensors")
    config(
        folder,
        model_kind="transcoder_set",
        feature_input_hook="mlp.hook_in",
        feature_output_hook="mlp.hook_out",
        scan="a set",
        **keys,
    )

    def encode(index: int, read: Tensor) -> Tensor:
        values = read @ layers[index]["W_enc"].T + layers[index]["b_enc"]
        if activation == "jumprelu":
            return _jump(values, layers[index]["activation_function.threshold"])
        return _topk(values, K) if activation == "topk" else values.relu()

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        output = active @ layers[index]["W_dec"] + layers[index]["b_dec"]
        return output + read @ layers[index]["W_skip"].T if skip else output

    return Written(folder, _per_layer(encode, decode), ("mlp.hook_in", "mlp.hook_out"))


def circuit_tracer_clt(folder: Path, jump: bool = True) -> Written:
    encoders, biases, outputs, thresholds = random(L, F, D), random(L, F), random(L, D), torch.rand(L, F)
    decoders = [random(F, L - index, D) for index in range(L)]
    config(
        folder,
        model_kind="cross_layer_transcoder",
        feature_input_hook="hook_resid_mid",
        feature_output_hook="hook_mlp_out",
    )
    for i in range(L):
        tensors = {f"W_enc_{i}": encoders[i], f"b_enc_{i}": biases[i], f"b_dec_{i}": outputs[i]}
        if jump:
            tensors[f"threshold_{i}"] = thresholds[i]
        save_file({key: value.clone() for key, value in tensors.items()}, folder / f"W_enc_{i}.safetensors")
        save_file({f"W_dec_{i}": decoders[i]}, folder / f"W_dec_{i}.safetensors")

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.einsum("ltd,lfd->ltf", inputs, encoders) + biases[:, None]
        active = _jump(values, thresholds[:, None]) if jump else values.relu()
        written = outputs[:, None].repeat(1, inputs.shape[1], 1)
        for source in range(L):
            for target in range(source, L):
                written[target] += active[source] @ decoders[source][:, target - source]
        return active, written

    return Written(folder, formula, ("hook_resid_mid", "hook_mlp_out"), True)


def gemma_scope(folder: Path, compressed: bool = False) -> Written:
    layers = [
        {
            "W_enc": random(D, F),
            "W_dec": random(F, D),
            "b_enc": random(F),
            "b_dec": random(D),
            "threshold": torch.rand(F),
        }
        for _ in range(L)
    ]
    save = np.savez_compressed if compressed else np.savez
    for index, layer in enumerate(layers):
        path = folder / f"layer_{index}/width_16k/average_l0_{70 + index}/params.npz"
        path.parent.mkdir(parents=True)
        save(path, **{key: value.numpy() for key, value in layer.items()})

    def encode(index: int, read: Tensor) -> Tensor:
        values = read @ layers[index]["W_enc"] + layers[index]["b_enc"]
        return (values > layers[index]["threshold"]) * values.relu()

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        return active @ layers[index]["W_dec"] + layers[index]["b_dec"]

    return Written(folder, _per_layer(encode, decode), ("ln2.hook_normalized", "hook_mlp_out"))


def gemma_scope_2(folder: Path, affine: bool = True) -> Written:
    layers = [
        {
            "w_enc": random(D, F),
            "w_dec": random(F, D),
            "b_enc": random(F),
            "b_dec": random(D),
            "threshold": torch.rand(F),
        }
        for _ in range(L)
    ]
    for index, layer in enumerate(layers):
        if affine:
            layer["affine_skip_connection"] = random(D, D)
        path = folder / f"transcoder_all/layer_{index}_width_16k_l0_small/params.safetensors"
        path.parent.mkdir(parents=True)
        save_file(layer, path)
        names = {
            "hf_hook_point_in": f"model.layers.{index}.pre_feedforward_layernorm.output",
            "hf_hook_point_out": f"model.layers.{index}.post_feedforward_layernorm.output",
        }
        path.with_name("config.json").write_text(json.dumps(names))

    def encode(index: int, read: Tensor) -> Tensor:
        values = read @ layers[index]["w_enc"] + layers[index]["b_enc"]
        return (values > layers[index]["threshold"]) * values.relu()

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        output = active @ layers[index]["w_dec"] + layers[index]["b_dec"]
        return output + read @ layers[index]["affine_skip_connection"] if affine else output

    return Written(folder, _per_layer(encode, decode), ("mlp.hook_in", "hook_mlp_out"))


def gemma_scope_2_clt(folder: Path) -> Written:
    encoders, biases, outputs, thresholds = random(L, D, F), random(L, F), random(L, D), torch.rand(L, F)
    decoders, affine = random(L, F, L, D), random(L, D, D)
    folder.mkdir(parents=True)
    for i in range(L):
        tensors = {
            "w_enc": encoders[i],
            "w_dec": decoders[i],
            "b_enc": biases[i],
            "b_dec": outputs[i],
            "threshold": thresholds[i],
            "affine_skip_connection": affine[i],
        }
        save_file(
            {key: value.clone() for key, value in tensors.items()}, folder / f"params_layer_{i}.safetensors"
        )

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.einsum("ltd,ldf->ltf", inputs, encoders) + biases[:, None]
        active = (values > thresholds[:, None]) * values.relu()
        causal = torch.triu(torch.ones(L, L))  # features write to no layer below their own
        written = torch.einsum("stf,sflD,sl->ltD", active, decoders, causal)
        return active, written + outputs[:, None] + torch.einsum("ltd,ldD->ltD", inputs, affine)

    return Written(folder, formula, ("mlp.hook_in", "hook_mlp_out"), True)


def sae_lens(folder: Path, activation: str = "jumprelu", skip: bool = False, legacy: bool = False) -> Written:
    layers = [
        {"W_enc": random(D, F), "W_dec": random(F, D), "b_enc": random(F), "b_dec": random(D)}
        for _ in range(L)
    ]
    jump = "jumprelu_" if activation == "jumprelu" else ""
    for index, layer in enumerate(layers):
        hooks = {
            "hook_name": f"blocks.{index}.hook_resid_mid",
            "hook_name_out": f"blocks.{index}.hook_mlp_out",
        }
        cfg = {
            "architecture": f"{jump}{'skip_' if skip else ''}transcoder",
            "d_in": D,
            "d_out": D,
            "d_sae": F,
        }
        cfg |= hooks if legacy else {"metadata": hooks}
        if jump:
            layer["threshold"] = torch.rand(F)
        if skip:
            layer["W_skip"] = random(D, D)
        if activation == "topk":
            cfg |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": K}}
        path = folder / f"blocks.{index}.hook_mlp_out/sae_weights.safetensors"
        path.parent.mkdir(parents=True)
        save_file(layer, path)
        path.with_name("cfg.json").write_text(json.dumps(cfg))

    def encode(index: int, read: Tensor) -> Tensor:
        values = read @ layers[index]["W_enc"] + layers[index]["b_enc"]
        if jump:
            return (values > layers[index]["threshold"]) * values.relu()
        return _topk(values, K).relu() if activation == "topk" else values.relu()

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        output = active @ layers[index]["W_dec"] + layers[index]["b_dec"]
        return output + read @ layers[index]["W_skip"].T if skip else output

    return Written(folder, _per_layer(encode, decode), ("hook_resid_mid", "hook_mlp_out"))


def sparsify(folder: Path, skip: bool = True) -> Written:
    layers = [
        {
            "encoder.weight": random(F, D),
            "encoder.bias": random(F) - 1,
            "W_dec": random(F, D),
            "b_dec": random(D),
        }
        for _ in range(L)
    ]
    for index, layer in enumerate(layers):
        if skip:
            layer["W_skip"] = random(D, D)
        path = folder / f"layers.{index}.mlp/sae.safetensors"
        path.parent.mkdir(parents=True)
        save_file(layer, path)
        cfg = {
            "activation": "topk",
            "k": K,
            "num_latents": F,
            "d_in": D,
            "transcode": True,
            "skip_connection": skip,
        }
        path.with_name("cfg.json").write_text(json.dumps(cfg))

    def encode(index: int, read: Tensor) -> Tensor:
        values = (read @ layers[index]["encoder.weight"].T + layers[index]["encoder.bias"]).relu()
        return _topk(values, K)

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        output = active @ layers[index]["W_dec"] + layers[index]["b_dec"]
        return output + read @ layers[index]["W_skip"].T if skip else output

    return Written(folder, _per_layer(encode, decode), ("mlp.hook_in", "mlp.hook_out"))


def crosslayer_transcoder(
    folder: Path, nonlinearity: str = "JumpReLU", standard: str = "Dimensionwise"
) -> Written:
    encoder, bias, output = random(L, D, F), random(L, F), random(L, D)
    decoders = [random(index + 1, F, D) for index in range(L)]
    theta, threshold = torch.rand(1, L, F) - 0.3, torch.rand(L)
    shape = (L,) if standard == "Layerwise" else (L, D)
    mean_in, mean_out = random(*shape), random(*shape)
    std_in, std_out = torch.rand(shape) + 0.5, torch.rand(shape) + 0.5
    tensors = {"encoder.W": encoder, "encoder.b": bias, "decoder.b": output}
    tensors |= {f"decoder.W_{index}": decoder for index, decoder in enumerate(decoders)}
    arguments = {"nonlinearity": {"class_path": f"model.{nonlinearity}", "init_args": {"k": K}}}
    if nonlinearity == "JumpReLU":
        tensors |= {"nonlinearity.theta": theta, "nonlinearity.bandwidth": torch.tensor(1.0)}
    if nonlinearity == "PerLayerBatchTopK":
        tensors["nonlinearity.threshold"] = threshold
    if standard:
        tensors |= {"input_standardizer.mean": mean_in, "input_standardizer.std": std_in}
        tensors |= {"output_standardizer.mean": mean_out, "output_standardizer.std": std_out}
        for side in ("Input", "Output"):
            arguments[f"{side.lower()}_standardizer"] = {"class_path": f"model.{standard}{side}Standardizer"}
    config(folder, model={"class_path": "model.CrossLayerTranscoder", "init_args": arguments})
    save_file(tensors, folder / "checkpoint.safetensors")

    def activate(values: Tensor) -> Tensor:
        if nonlinearity == "JumpReLU":
            return values * ((values > theta[0][:, None]) & (values > 0))
        if nonlinearity == "PerLayerBatchTopK":
            return values * (values > threshold[:, None, None])
        return _topk(values, K).relu() if nonlinearity == "PerLayerTopK" else values.relu()

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        wide = [value.view(L, 1, -1) for value in (mean_in, std_in, mean_out, std_out)]
        read = (inputs - wide[0]) / wide[1] if standard else inputs
        active = activate(torch.einsum("ltd,ldf->ltf", read, encoder) + bias[:, None])
        written = torch.stack(
            [torch.einsum("stf,sfd->td", active[: layer + 1], decoders[layer]) for layer in range(L)]
        )
        written = written + output[:, None]
        return active, written * wide[3] + wide[2] if standard else written

    return Written(folder, formula, ("hook_resid_mid", "hook_mlp_out"), True)


def open_moss(
    folder: Path, activation: str = "jumprelu", by_norm: bool = True, norm: str = "dataset-wise"
) -> Written:
    layers = [
        {"W_E": random(D, F), "b_E": random(F), "W_D": random(F, D), "b_D": random(D)} for _ in range(L)
    ]
    norms = torch.rand(2, L) + 0.5
    for index, layer in enumerate(layers):
        hooks = {
            "hook_point_in": f"blocks.{index}.ln2.hook_normalized",
            "hook_point_out": f"blocks.{index}.hook_mlp_out",
        }
        if activation == "jumprelu":
            layer["activation_function.log_jumprelu_threshold"] = random(F)
        for side, hook in enumerate(hooks.values()):
            layer[f"dataset_average_activation_norm.{hook}"] = norms[side, index]
        path = folder / f"L{index}/sae_weights.safetensors"
        path.parent.mkdir(parents=True)
        save_file(layer, path)
        _open_moss_config(path, activation, by_norm, norm, sae_type="sae", use_glu_encoder=False, **hooks)
    factors = D**0.5 / norms if norm == "dataset-wise" else torch.ones(2, L)

    def encode(index: int, read: Tensor) -> Tensor:
        layer, factor = layers[index], factors[0, index]
        values = (read * factor) @ layer["W_E"] + layer["b_E"]
        size = layer["W_D"].norm(dim=1) if by_norm else torch.ones(F)
        threshold = layer.get("activation_function.log_jumprelu_threshold", torch.zeros(F)).exp()
        return _open_moss_judged(values, size, activation, threshold) / factor

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        layer = layers[index]
        return (active * factors[0, index] @ layer["W_D"] + layer["b_D"]) / factors[1, index]

    return Written(folder, _per_layer(encode, decode), ("ln2.hook_normalized", "hook_mlp_out"))


def _open_moss_config(path: Path, activation: str, by_norm: bool, norm: str, **keys: object) -> None:
    keys |= {
        "act_fn": activation,
        "sparsity_include_decoder_norm": by_norm,
        "norm_activation": norm,
        "top_k": K,
    }
    keys |= {
        "d_model": D,
        "expansion_factor": F / D,
        "use_decoder_bias": True,
        "jumprelu_threshold_window": 2.0,
    }
    path.with_name("config.json").write_text(json.dumps(keys))


def _open_moss_judged(values: Tensor, size: Tensor, activation: str, threshold: Tensor) -> Tensor:
    """Judge pre-activations by their size in the output: times the norm, and over it again."""
    judged = values * size
    if activation == "jumprelu":
        return judged * (judged > threshold) / size
    return (_topk(judged.relu(), K) if activation == "topk" else judged.relu()) / size


def open_moss_clt(folder: Path, activation: str = "jumprelu", by_norm: bool = True) -> Written:
    encoder, bias, thresholds, norms = random(L, D, F), random(L, F), random(L, F), torch.rand(2, L) + 0.5
    decoders, biases = [random(to + 1, F, D) for to in range(L)], [random(D) for _ in range(L)]
    hooks = [[f"blocks.{i}.hook_resid_mid" for i in range(L)], [f"blocks.{i}.hook_mlp_out" for i in range(L)]]
    tensors = {"W_E": encoder, "b_E": bias}
    for to in range(L):
        tensors |= {f"W_D.{to}": decoders[to], f"b_D.{to}": biases[to]}
        for side in (0, 1):
            tensors[f"dataset_average_activation_norm.{hooks[side][to]}"] = norms[side, to]
    if activation == "jumprelu":
        tensors["activation_function.log_jumprelu_threshold"] = thresholds
    folder.mkdir(parents=True)
    path = folder / "sae_weights.safetensors"
    save_file(tensors, path)
    keys = {"sae_type": "clt", "hook_points_in": hooks[0], "hook_points_out": hooks[1]}
    _open_moss_config(path, activation, by_norm, "dataset-wise", **keys)
    factors = D**0.5 / norms

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        active = []
        for source in range(L):
            values = (inputs[source] * factors[0, source]) @ encoder[source] + bias[source]
            squares = sum(decoders[to][source].pow(2).sum(1) for to in range(source, L))
            size = squares.sqrt() if by_norm else torch.ones(F)
            active.append(_open_moss_judged(values, size, activation, thresholds[source].exp()))
        written = [
            (sum(active[source] @ decoders[to][source] for source in range(to + 1)) + biases[to])
            / factors[1, to]
            for to in range(L)
        ]
        return torch.stack(active) / factors[0][:, None, None], torch.stack(written)

    return Written(folder, formula, ("hook_resid_mid", "hook_mlp_out"), True)


def circuit_tracer_first(folder: Path, features: int = F) -> Written:
    """Write the first version's YAML: no kind, mappings in any order, decoders across."""
    layers = [
        {
            "W_enc": random(features, D),
            "b_enc": random(features),
            "W_dec": random(D, features),
            "b_dec": random(D),
            "W_skip": random(D, D),
        }
        for _ in range(L)
    ]
    folder.mkdir(parents=True)
    for index, layer in enumerate(layers):
        save_file(layer, folder / f"transcoder-{'abc'[index]}.safetensors")
    entries = [
        {"id": f"relu-{i}", "layer": i, "filepath": f"transcoder-{'abc'[i]}.safetensors"} for i in (2, 0, 1)
    ]
    keys = {
        "feature_input_hook": "mlp.hook_in",
        "feature_output_hook": "mlp.hook_out",
        "model_name": "org/model",
    }
    config(folder, transcoders=entries, **keys)

    def encode(index: int, read: Tensor) -> Tensor:
        return (read @ layers[index]["W_enc"].T + layers[index]["b_enc"]).relu()

    def decode(index: int, active: Tensor, read: Tensor) -> Tensor:
        layer = layers[index]
        return active @ layer["W_dec"].T + layer["b_dec"] + read @ layer["W_skip"].T

    return Written(folder, _per_layer(encode, decode), ("mlp.hook_in", "mlp.hook_out"))


def clt_forge(folder: Path, cross_layer: bool = True) -> Written:
    encoder, bias, thresholds = random(L, D, F), random(L, F), random(L, F)
    rows = [(i, j) for i in range(L) for j in range(i, L)] if cross_layer else [(i, i) for i in range(L)]
    decoder, biases = random(len(rows), F, D), random(len(rows), D)
    factor_in, factor_out = torch.rand(L) + 0.5, torch.rand(L) + 0.5
    tensors = {
        "W_enc": encoder,
        "b_enc": bias,
        "W_dec": decoder,
        "b_dec": biases,
        "log_threshold": thresholds,
    }
    tensors |= {
        "estimated_norm_scaling_factor_in": factor_in,
        "estimated_norm_scaling_factor_out": factor_out,
        "feature_count": torch.zeros(L, F, dtype=torch.long),
    }
    keys = {
        "n_layers": L,
        "d_in": D,
        "d_latent": F,
        "cross_layer_decoders": cross_layer,
        "model_name": "gpt2",
    }
    keys |= {"jumprelu_bandwidth": 1.0, "normalize_decoder": False, "context_size": 16, "l0_coefficient": 2.0}
    if cross_layer:
        tensors["layer_mask"] = torch.ones(L, len(rows))
    folder.mkdir(parents=True)
    save_file(tensors, folder / "clt_weights.safetensors")
    (folder / "clt_cfg.json").write_text(json.dumps(keys))

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.einsum("ltd,ldf->ltf", inputs * factor_in[:, None, None], encoder) + bias[:, None]
        active = _jump(values, thresholds.exp()[:, None])
        written = torch.zeros(inputs.shape)
        for row, (source, target) in enumerate(rows):
            written[target] += active[source] @ decoder[row] + biases[row]
        return active, written / factor_out[:, None, None]

    return Written(folder, formula, ("ln2.hook_normalized", "hook_mlp_out"), cross_layer)


def bluelight(
    folder: Path, layout: str = "output_layer", activation: str = "jumprelu", parts: bool = False
) -> Written:
    encoder, bias, output, thresholds = random(L, D, F), random(L, F), random(L, D), random(L, F)
    size = (lambda i: i + 1) if layout == "output_layer" else (lambda i: L - i)
    decoders = [random(size(i), F, D) for i in range(L)]
    norm_in, norm_out = torch.rand(L, 1, 1) + 0.5, torch.rand(L, 1, 1) + 0.5
    tensors = {"encoder.W": encoder, "encoder.b": bias, "decoder.b": output}
    tensors |= {"norm_factor_in": norm_in, "norm_factor_out": norm_out}
    tensors |= {f"decoder.decoders.{i}.W": decoder for i, decoder in enumerate(decoders)}
    if activation == "jumprelu":
        tensors["activation.log_threshold"] = thresholds
    folder.mkdir(parents=True)
    hooks = {"input": {"attr": "mlp.input", "dim": D}, "output": {"attr": "mlp.output", "dim": D}}
    if parts:
        short = {"encoder.W": "W_enc", "encoder.b": "b_enc", "decoder.b": "b_dec"}
        short |= {"activation.log_threshold": "log_threshold"}
        short |= {f"decoder.decoders.{i}.W": f"W_dec_{i}" for i in range(L)}
        names = []
        for number, (key, tensor) in enumerate(tensors.items()):
            names.append(f"part_{number}.safetensors")
            save_file({short.get(key, key): tensor}, folder / names[-1])
        manifest = {"format": "layer_weights", "decoder_type": layout, "files": names}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        described = {"d_latent": F, "activation": {"type": activation, "k": K}, "decoder": {"layout": layout}}
        base = {"name": "org/model", "n_layers": L, "hook_points": hooks}
        keys = {"config_version": 2, "base_model": base, "architecture": described}
    else:
        save_file(tensors, folder / "clt.safetensors")
        keys = {
            "config_version": 1,
            "n_layers": L,
            "d_in": D,
            "d_latent": F,
            "activation": activation,
            "k": K,
        }
        keys |= {"decoder_layout": layout, "input_attr": "mlp.input", "output_attr": "mlp.output"}
    (folder / "model_config.json").write_text(json.dumps(keys))

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = torch.einsum("ltd,ldf->ltf", inputs / norm_in, encoder) + bias[:, None]
        active = _topk(values.relu(), K) if activation == "topk" else _jump(values, thresholds.exp()[:, None])
        written = output[:, None].repeat(1, inputs.shape[1], 1)
        for source in range(L):
            for target in range(source, L):
                is_output = layout == "output_layer"
                row = decoders[target][source] if is_output else decoders[source][target - source]
                written[target] += active[source] @ row
        return active, written * norm_out

    return Written(folder, formula, ("mlp.hook_in", "mlp.hook_out"), True)


def crosslayer_coding(
    folder: Path, tying: str = "none", activation: str = "jumprelu", offset: bool = False
) -> Written:
    encoders, biases = [random(F, D) for _ in range(L)], [random(F) for _ in range(L)]
    pairs = [(source, target) for source in range(L) for target in range(source, L)]
    place = {
        "none": lambda s, t: f"{s}->{t}",
        "per_source": lambda s, t: f"{s}",
        "per_target": lambda s, t: f"{t}",
    }
    names = {place[tying](*pair) for pair in pairs}
    decoders, outputs = {name: random(D, F) for name in names}, {name: random(D) for name in names}
    tied = tying != "none"
    scales, offsets = torch.rand(L, F) + 0.5, random(1, F).expand(L, F)
    skips = random(L, D, D)
    tensors = {f"encoder_module.encoders.{i}.weight": encoders[i] for i in range(L)}
    tensors |= {f"encoder_module.encoders.{i}.bias_param": biases[i] for i in range(L)}
    tensors |= {f"decoder_module.decoders.{name}.weight": decoders[name] for name in names}
    tensors |= {f"decoder_module.decoders.{name}.bias_param": outputs[name] for name in names}
    for i in range(L) if tied else ():
        tensors |= {
            f"decoder_module.feature_scale.{i}": scales[i],
            f"decoder_module.skip_weights.{i}": skips[i],
        }
        if offset:
            tensors[f"decoder_module.feature_offset.{i}"] = offsets[i]
    for source, target in () if tied else pairs:
        own = skips[source] if source == target else torch.zeros(D, D)
        tensors[f"decoder_module.skip_weights.{source}->{target}"] = own
    thresholds = random(L, F)
    if activation == "jumprelu":
        tensors["theta_manager.log_threshold"] = thresholds
    folder.mkdir(parents=True)
    tensors = {key: value.clone().contiguous() for key, value in tensors.items()}
    save_file(tensors, folder / "clt_checkpoint_latest.safetensors")
    keys = {
        "num_features": F,
        "num_layers": L,
        "d_model": D,
        "activation_fn": activation,
        "decoder_tying": tying,
    }
    keys |= {"enable_feature_scale": tied, "enable_feature_offset": offset, "skip_connection": True}
    keys |= {"normalization_method": "none", "tl_input_template": "blocks.{}.hook_resid_mid"}
    keys |= {
        "tl_output_template": "blocks.{}.hook_mlp_out",
        "jumprelu_threshold": 0.03,
        "topk_mode": "global",
    }
    (folder / "cfg.json").write_text(json.dumps(keys))

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        values = [inputs[i] @ encoders[i].T + biases[i] for i in range(L)]
        if activation == "jumprelu":
            values = [_jump(values[i], thresholds[i].exp()) for i in range(L)]
        fired = [value.relu() for value in values]
        written = torch.stack([inputs[target] @ skips[target].T for target in range(L)])
        for target in range(L):
            if tying == "per_target":
                written[target] += outputs[f"{target}"]
            for source in range(target + 1):
                name = place[tying](source, target)
                seen = fired[source]
                if tied:
                    seen = (seen + (offsets[target] if offset else 0) * (seen != 0)) * scales[target]
                written[target] += seen @ decoders[name].T
                if tying != "per_target":
                    written[target] += outputs[name]
        active = [seen + offsets[0] * (seen != 0) if offset else seen for seen in fired]
        return torch.stack(active), written

    return Written(folder, formula, ("hook_resid_mid", "hook_mlp_out"), True)


def clt_training(
    folder: Path, joined: str = "", norms: bool = True, scale: bool = True, offset: bool = True
) -> Written:
    """Write a per-layer set, or a cross-layer one whose decoders are joined by `concat` or `per-layer`."""
    layers, factors = [], torch.ones(2, L)
    for index in range(L):
        n_targets = L - index if joined else 0
        height = F * (index + 1) if joined == "per-layer" else F
        layer = {"encoder.weight": random(F, D), "encoder.bias": random(F) - 1, "W_dec": random(height, D)}
        layer |= {"b_dec": random(D), "W_skip": random(D, D)}
        shared = random(F)  # each layer that is written to has its own; only equal ones can be folded in
        for target in range(max(1, n_targets)):
            names = (
                (f"post_encs.{target}", f"post_enc_scales.{target}")
                if joined
                else ("post_enc", "post_enc_scale")
            )
            layer[names[0]] = shared.clone() if offset else torch.zeros(F)
            if scale:
                layer[names[1]] = random(F)
        if norms:
            layer |= {"in_norm": torch.rand(1) + 1, "out_norm": torch.rand(1) + 1}
            factors[0, index] = D**0.5 / layer["in_norm"]
            factors[1, index] = layer["out_norm"] / D**0.5
        path = folder / f"h.{index}.mlp/sae.safetensors"
        path.parent.mkdir(parents=True)
        save_file(layer, path)
        keys = {"activation": "topk", "k": K, "num_latents": F, "d_in": D, "transcode": True, "dtype": "none"}
        keys |= {"skip_connection": True, "n_targets": n_targets, "n_sources": index + 1 if joined else 0}
        keys |= {"normalize_io": norms, "post_encoder_scale": scale, "train_post_encoder": True}
        keys |= {"coalesce_topk": joined or "none", "tp_output": True, "divide_cross_layer": False}
        path.with_name("cfg.json").write_text(json.dumps(keys))
        layers.append(layer)

    def formula(inputs: Tensor) -> tuple[Tensor, Tensor]:
        written, active = [], []
        read = inputs * factors[0][:, None, None]
        fired = [
            _topk((read[i] @ layers[i]["encoder.weight"].T + layers[i]["encoder.bias"]).relu(), K)
            for i in range(L)
        ]
        for index, layer in enumerate(layers):
            total = layer["b_dec"] + read[index] @ layer["W_skip"].T
            for source in range(index + 1) if joined else (index,):
                ending = f"s.{index - source}" if joined else ""
                seen = fired[source] + layers[source][f"post_enc{ending}"] * (fired[source] > 0)
                seen = seen * layers[source][f"post_enc_scale{ending}"] if scale else seen
                first = source * F if joined == "per-layer" else 0
                total = total + seen @ layer["W_dec"][first : first + F]
            written.append(total * factors[1, index])
            own = layer["post_encs.0" if joined else "post_enc"]
            active.append(fired[index] + own * (fired[index] > 0))
        return torch.stack(active), torch.stack(written)

    return Written(folder, formula, ("mlp.hook_in", "mlp.hook_out"), bool(joined))


FORMATS: dict[str, Callable[[Path], Written]] = {
    "BluelightAI": bluelight,
    "circuit-tracer": circuit_tracer_plt,
    "CLT-Forge": clt_forge,
    "clt-training": clt_training,
    "crosslayer-coding": crosslayer_coding,
    "crosslayer-transcoder": crosslayer_transcoder,
    "GemmaScope": gemma_scope,
    "GemmaScope 2": gemma_scope_2,
    "OpenMOSS": open_moss,
    "SAELens": sae_lens,
    "sparsify": sparsify,
}
"""One of each format, by its name in the table."""

VARIANTS: dict[str, Callable[[Path], Written]] = {
    **FORMATS,
    "BluelightAI by input": lambda folder: bluelight(folder, "input_layer", "topk"),
    "BluelightAI in parts": lambda folder: bluelight(folder, parts=True),
    "CLT-Forge PLT": lambda folder: clt_forge(folder, cross_layer=False),
    "clt-training plain": lambda folder: clt_training(folder, norms=False, scale=False, offset=False),
    "clt-training concat": lambda folder: clt_training(folder, "concat"),
    "clt-training per layer": lambda folder: clt_training(folder, "per-layer", norms=False),
    "crosslayer-coding relu": lambda folder: crosslayer_coding(folder, activation="relu"),
    "crosslayer-coding per source": lambda folder: crosslayer_coding(folder, "per_source"),
    "crosslayer-coding per target": lambda folder: crosslayer_coding(folder, "per_target", offset=True),
    "circuit-tracer, first": circuit_tracer_first,
    "circuit-tracer relu": lambda folder: circuit_tracer_plt(folder, "relu", skip=False),
    "circuit-tracer topk": lambda folder: circuit_tracer_plt(folder, "topk"),
    "circuit-tracer CLT": circuit_tracer_clt,
    "circuit-tracer CLT relu": lambda folder: circuit_tracer_clt(folder, jump=False),
    "GemmaScope compressed": lambda folder: gemma_scope(folder, compressed=True),
    "GemmaScope 2 plain": lambda folder: gemma_scope_2(folder, affine=False),
    "GemmaScope 2 CLT": gemma_scope_2_clt,
    "OpenMOSS plain": lambda folder: open_moss(folder, by_norm=False),
    "OpenMOSS topk": lambda folder: open_moss(folder, "topk"),
    "OpenMOSS relu, folded": lambda folder: open_moss(folder, "relu", norm="inference"),
    "OpenMOSS CLT": open_moss_clt,
    "OpenMOSS CLT topk": lambda folder: open_moss_clt(folder, "topk"),
    "OpenMOSS CLT relu": lambda folder: open_moss_clt(folder, "relu", by_norm=False),
    "SAELens relu, skip": lambda folder: sae_lens(folder, "relu", skip=True),
    "SAELens topk, older": lambda folder: sae_lens(folder, "topk", legacy=True),
    "sparsify plain": lambda folder: sparsify(folder, skip=False),
    "crosslayer-transcoder topk": lambda folder: crosslayer_transcoder(folder, "PerLayerTopK", "Layerwise"),
    "crosslayer-transcoder batch topk": lambda folder: crosslayer_transcoder(folder, "PerLayerBatchTopK"),
    "crosslayer-transcoder relu": lambda folder: crosslayer_transcoder(folder, "ReLU", ""),
}
"""All that is read, for tests that hold for each."""
