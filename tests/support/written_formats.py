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


FORMATS: dict[str, Callable[[Path], Written]] = {
    "circuit-tracer": circuit_tracer_plt,
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
