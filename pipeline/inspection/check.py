"""Say of a model and a dictionary what a sweep would take for granted, and try it on some lines of text.

A dictionary that reads or writes at the wrong point loads and traces; only its reconstruction tells. The
fraction of variance unexplained (FVU) is 0 for a perfect one and 1 for one that always says the mean: above 1
it does worse than nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.errors import CircuitSweepError, PromptError
from pipeline.hub import Neurons
from pipeline.inspection.reference import largest_deviation
from pipeline.model import (
    LAST,
    ReplacementModel,
    Site,
    explain_outputs,
    hook_modules,
    load_config,
    opening_tokens,
    quantisation,
    read_inputs,
    record,
    token_text,
    tokenizers_own,
    whole_config,
)
from pipeline.token_labels import token_label

TEXTS = (
    "The capital of France is Paris, and the capital of Italy is Rome.",
    "Water boils at one hundred degrees and freezes at zero.",
    "She opened the door, looked around the room and sat down by the window.",
    "In 1969 two people walked on the Moon for the first time.",
    "def add(a, b):\n    return a + b",
    "The opposite of hot is cold, and the opposite of large is small.",
    "When Mary and John went to the store, John gave a drink to Mary.",
    "Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday",
    "The company said on Thursday that its profits had risen by ten percent.",
    "Two plus three is five, and five minus one is four.",
)
"""Lines on which a dictionary is tried, where the user gives no others."""

SMALL_PARAMETERS = 200_000_000
"""Most parameters of a model of which one graph is computed again in float64."""

SITES: tuple[Site, ...] = ("mlp_norm.input", "mlp_norm.output", "mlp.output")

TOLERANCE = 1e-4
"""Largest deviation of an edge, as a share of the largest edge, that rounding explains."""

PROBES = "neurons:16"
"""Features of the graph that is compared where no dictionary is named."""


@dataclass(frozen=True)
class Finding:
    """One thing that was found."""

    subject: str
    found: str
    layer: int | None = None
    fvu: float | None = None
    """Fraction of the MLP's variance that the dictionary leaves unexplained at this layer."""

    l0: float | None = None
    """Active features of this layer at a position, on average."""

    problem: bool = False


def check_model(
    name: str,
    transcoders: str | None = None,
    texts: Sequence[str] = TEXTS,
    dtype: torch.dtype = torch.float32,
    trust_remote_code: bool = False,
    device: str | None = None,
) -> Iterator[Finding]:
    """Yield what is found, one thing after the other; what cannot be used ends it with a problem.

    Args:
        name: the model.
        transcoders: the dictionary; None to look at the model alone.
        texts: lines to try it on.
        dtype: precision of both.
        trust_remote_code: run code that the model's repository brings.
        device: where they are loaded; by default the GPU if there is one.

    """
    try:
        config, whole = load_config(name, trust_remote_code), whole_config(name, trust_remote_code)
        yield Finding(
            "model", f"{config.model_type}, {config.num_hidden_layers} layers of {config.hidden_size}"
        )
        if config is not whole and config.model_type != whole.model_type:
            yield Finding("wrapper", f"the language model in a {whole.model_type} is what is traced")
        if method := quantisation(whole):
            yield Finding("quantised", f"{method}: dequantised to {dtype} while it is loaded")
        model = ReplacementModel.from_pretrained(
            name, transcoders or PROBES, device, dtype, trust_remote_code=trust_remote_code
        )
    except CircuitSweepError as error:
        yield Finding("cannot be used", str(error), problem=True)
        return
    yield from _of_model(model)
    prompts, refused = _tokenized(model, texts)
    if refused:
        yield Finding("text", f"{len(refused)} of {len(texts)} lines cannot be traced: {refused[0]}")
    if transcoders is not None:
        yield from _of_dictionary(model)
        if prompts:
            yield from _fit(model, prompts)
    if prompts:
        yield from _reference(model, min(prompts, key=len))


def _of_model(model: ReplacementModel) -> Iterator[Finding]:
    tokenizer, architecture = model.tokenizer, model.architecture
    size = sum(parameter.numel() for parameter in model.model.parameters())
    yield Finding(
        "architecture", f"{architecture.name}, {size:,} parameters, {model.vocabulary_size:,} tokens"
    )
    yield Finding("tensors", "all there, none left over")
    for hook, place in hook_modules(architecture).items():
        yield Finding("hook point", f"{hook}: {place}")
    count = model.zero_positions
    opened = "the first carries no features" if count == 1 else f"the first {count} carry no features"
    if model.fixed_prefix:
        opened += f", and every prompt begins with {_labels(model, model.fixed_prefix)}: its chat template"
    yield Finding("opening positions", opened)
    named = {key: value for key, value in tokenizer.special_tokens_map.items() if isinstance(value, str)}
    yield Finding("special tokens", ", ".join(f"{key} {value!r}" for key, value in named.items()) or "none")
    ours, own = opening_tokens(tokenizer, None, model.vocabulary_size), tokenizers_own(tokenizer)
    in_front = (
        f"{_labels(model, ours)} is put in front of a text; its tokenizer puts {_labels(model, own)} there"
    )
    yield Finding("in front", in_front)
    yield Finding("chat template", "there is one" if tokenizer.chat_template else "none")


def _labels(model: ReplacementModel, tokens: Sequence[int]) -> str:
    return " ".join(token_label(token_text(model.tokenizer, token)) for token in tokens) or "nothing"


def _of_dictionary(model: ReplacementModel) -> Iterator[Finding]:
    loaded = model.transcoders
    layers = loaded.layers
    kind = "CLT" if any(layer.decoder.shape[1] > 1 for layer in layers) else "PLT"
    skip = ", with skip paths" if any(layer.skip is not None for layer in layers) else ""
    sizes = sorted({layer.n_features for layer in layers})
    features = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
    activation = type(layers[0].activation).__name__
    if Neurons.named(loaded.name):
        kind, activation = "the model's own neurons", "the MLP's own"
    if loaded.format:
        yield Finding("format", loaded.format)
    yield Finding("dictionary", f"{kind}, {features} features a layer, {activation}{skip}")
    yield Finding("reads and writes", f"reads {loaded.input_hook}, writes {loaded.output_hook}")


def _tokenized(
    model: ReplacementModel, texts: Sequence[str]
) -> tuple[list[Int[Tensor, " T"]], list[PromptError]]:
    prompts, refused = [], []
    for text in texts:
        try:
            prompts.append(model.ensure_tokenized(text))
        except PromptError as error:
            refused.append(error)
    return prompts, refused


@dataclass
class _Sums:
    """Sums over positions of one layer."""

    written: Float[Tensor, " d"] | float = 0.0
    squared: float = 0.0
    error: float = 0.0
    active: int = 0
    positions: int = 0

    def add(self, written: Float[Tensor, "T d"], error: Float[Tensor, "T d"], active: int) -> None:
        """Count some positions."""
        written = written.double()
        self.written = self.written + written.sum(0)
        self.squared += float(written.pow(2).sum())
        self.error += float(error.double().pow(2).sum())
        self.active += active
        self.positions += len(written)

    @property
    def fvu(self) -> float:
        """Squared error over the variance of what the MLP writes."""
        variance = self.squared - float((self.written**2).sum()) / self.positions
        return self.error / variance if variance > 0 else float("inf")


@torch.inference_mode()
def _fit(model: ReplacementModel, prompts: Sequence[Int[Tensor, " T"]]) -> Iterator[Finding]:
    sums = [_Sums() for _ in range(model.n_layers)]
    zero = model.zero_positions
    for tokens in prompts:
        with record(
            model.model, model.architecture, ["mlp_norm.input", "mlp_norm.output", "mlp.output"]
        ) as seen:
            model.model(input_ids=tokens[None], use_cache=False, logits_to_keep=LAST)
        written = [seen["mlp.output", layer][0] for layer in range(model.n_layers)]
        inputs = (
            read_inputs(
                model.transcoders.input_hook,
                maps.mlp_norm,
                seen["mlp_norm.input", layer][0],
                seen["mlp_norm.output", layer][0],
            )
            for layer, maps in enumerate(model.maps)
        )
        explained = explain_outputs(model.transcoders, inputs, written, zero)
        for layer, (features, _, error) in enumerate(explained):
            sums[layer].add(written[layer][zero:], error[zero:], len(features))
    for layer, found in enumerate(sums):
        fvu, l0 = found.fvu, found.active / found.positions
        said = f"FVU {fvu:.3g}, L0 {l0:.1f}"
        if fvu > 1:
            said += ": worse than nothing; it reads or writes at another point, or is for another model"
        elif l0 == 0:
            said += ": no feature is ever active; it reads at another point, or is for another model"
        yield Finding("fit", said, layer, fvu, l0, problem=fvu > 1 or l0 == 0)


def _reference(model: ReplacementModel, tokens: Int[Tensor, " T"]) -> Iterator[Finding]:
    if sum(parameter.numel() for parameter in model.model.parameters()) > SMALL_PARAMETERS:
        yield Finding("reference", f"not computed: more than {SMALL_PARAMETERS:,} parameters")
        return
    deviation = largest_deviation(model, tokens)
    said = f"edges of one graph differ from float64 by {deviation:.1e} of the largest"
    wrong = not deviation < TOLERANCE
    yield Finding("reference", said + (": this model is traced wrongly" if wrong else ""), problem=wrong)
