"""A Llama and its dictionary in NumPy, float64, from their files: for figures computed twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from safetensors.numpy import load_file

Array = np.ndarray


def _per_layer(folder: Path, number: int) -> tuple[Array, ...]:
    found = load_file(folder / f"layer_{number}.safetensors")
    width = len(found["b_dec"])
    skip = found.get("W_skip", np.zeros((width, width)))
    threshold = found["activation_function.threshold"]
    return found["W_enc"], found["b_enc"], found["W_dec"][:, None], found["b_dec"], threshold, skip


def _cross_layer(folder: Path, number: int) -> tuple[Array, ...]:
    found = load_file(folder / f"W_enc_{number}.safetensors")
    found |= load_file(folder / f"W_dec_{number}.safetensors")
    width = len(found[f"b_dec_{number}"])
    names = ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")
    return *(found[f"{name}_{number}"] for name in names), np.zeros((width, width))


class NumpyDictionary:
    """A dictionary's files in circuit-tracer's format, JumpReLU."""

    def __init__(self, folder: Path) -> None:
        kind = yaml.safe_load((folder / "config.yaml").read_text())["model_kind"]
        count = len(list(folder.glob("layer_*" if kind == "transcoder_set" else "W_enc_*")))
        read = _per_layer if kind == "transcoder_set" else _cross_layer
        self.layers = [tuple(part.astype(np.float64) for part in read(folder, n)) for n in range(count)]

    def encode(self, number: int, read: Array) -> Array:
        encoder, bias, _, _, threshold, _ = self.layers[number]
        values = read @ encoder.T + bias
        return values * (values > threshold)

    def base(self, number: int, read: Array) -> Array:
        return self.layers[number][3] + read @ self.layers[number][5].T

    def decode(self, number: int, active: Array, above: int) -> Array:
        return active @ self.layers[number][2][:, above]

    @property
    def decoders(self) -> list[Array]:
        return [layer[2].reshape(len(layer[2]), -1) for layer in self.layers]


class NumpyLlama:
    """A Llama of one head of keys for each of queries, on one sequence at a time."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = {n: w.astype(np.float64) for n, w in load_file(folder / "model.safetensors").items()}
        self.n_layers = self.config["num_hidden_layers"]

    def run(
        self, tokens: Array, dictionary: NumpyDictionary | None = None, replaced=(), means=None
    ) -> tuple[Array, list[Array], list[Array]]:
        """Return log-probabilities, and what each MLP reads and writes."""
        x = self.weights["model.embed_tokens.weight"][tokens]
        reads, writes, written = [], [], dict.fromkeys(range(self.n_layers), 0.0)
        for number in range(self.n_layers):
            x = x + self._attention(number, self._norm(x, f"model.layers.{number}.input_layernorm"))
            read = self._norm(x, f"model.layers.{number}.post_attention_layernorm")
            output = self._mlp(number, read)
            reads.append(read)
            writes.append(output)
            if dictionary is not None:
                active = dictionary.encode(number, read)
                for above in range(dictionary.layers[number][2].shape[1]):
                    written[number + above] = written[number + above] + dictionary.decode(
                        number, active, above
                    )
                if number in replaced:
                    own = output[:1]
                    output = written[number] + dictionary.base(number, read)
                    output = np.concatenate([own, output[1:]])
            if means is not None:
                output = np.concatenate([output[:1], np.repeat(means[number][None], len(output) - 1, 0)])
            x = x + output
        head = self.weights.get("lm_head.weight", self.weights["model.embed_tokens.weight"])
        logits = self._norm(x, "model.norm") @ head.T
        largest = logits.max(-1, keepdims=True)
        return logits - largest - np.log(np.exp(logits - largest).sum(-1, keepdims=True)), reads, writes

    def _norm(self, x: Array, name: str) -> Array:
        scale = 1 / np.sqrt((x**2).mean(-1, keepdims=True) + self.config["rms_norm_eps"])
        return x * scale * self.weights[f"{name}.weight"]

    def _mlp(self, number: int, x: Array) -> Array:
        def project(name: str, value: Array) -> Array:
            return value @ self.weights[f"model.layers.{number}.mlp.{name}_proj.weight"].T

        gate = project("gate", x)
        return project("down", gate / (1 + np.exp(-gate)) * project("up", x))

    def _attention(self, number: int, x: Array) -> Array:
        heads = self.config["num_attention_heads"]
        T = len(x)

        def project(name: str) -> Array:
            found = x @ self.weights[f"model.layers.{number}.self_attn.{name}_proj.weight"].T
            return found.reshape(T, heads, -1).transpose(1, 0, 2)

        q, k, v = (project(name) for name in "qkv")
        q, k = self._rotated(q), self._rotated(k)
        scores = q @ k.transpose(0, 2, 1) / np.sqrt(q.shape[-1])
        scores = np.where(np.tril(np.ones((T, T), bool)), scores, -np.inf)
        pattern = np.exp(scores - scores.max(-1, keepdims=True))
        pattern /= pattern.sum(-1, keepdims=True)
        mixed = (pattern @ v).transpose(1, 0, 2).reshape(T, -1)
        return mixed @ self.weights[f"model.layers.{number}.self_attn.o_proj.weight"].T

    def _rotated(self, x: Array) -> Array:
        half = x.shape[-1] // 2
        base = (self.config.get("rope_parameters") or {}).get("rope_theta") or self.config.get(
            "rope_theta", 1e4
        )
        angles = np.arange(x.shape[1])[:, None] / base ** (np.arange(half) / half)
        cos, sin = (np.tile(part(angles), 2) for part in (np.cos, np.sin))
        return x * cos + np.concatenate([-x[..., half:], x[..., :half]], -1) * sin
