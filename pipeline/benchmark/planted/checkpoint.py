"""A small model written by hand, as a Hugging Face checkpoint, with the circuits that were put into it.

It completes `capital of <city> is` by two hops. An attention head brings the city to the last token. There,
in MLPs of ReLU neurons, which are their own exact dictionary (`transcoders: neurons`):

- layer 0: a neuron for each city writes its state;
- layer 1: a redundant pair of neurons for each state, either of which writes half of what its capital needs,
  and an inhibitor that writes against it;
- layer 2: a neuron for each capital writes its logit;
- layers 0 and 1: distractors that fire on every prompt and write much that nothing reads;
- all layers: noise neurons with random weights of a given size.

Signals are pairs of dimensions with opposite signs, so that a layer norm finds no mean, and beside a constant
that is far larger than they are, so that it finds nearly the same variance everywhere: norms then change
nothing.

Legend: d model width, F neurons of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

STATES = ("Texas", "Ohio", "Utah", "Iowa")
CITIES = {"Dallas": 0, "Waco": 0, "Toledo": 1, "Dayton": 1, "Provo": 2, "Ogden": 2, "Ames": 3, "Dubuque": 3}
CAPITALS = ("Austin", "Columbus", "Salt_Lake_City", "Des_Moines")
WORDS = ("the", "capital", "of", "is")
VOCABULARY = ("<bos>", "<unk>", *WORDS, *CITIES, *CAPITALS)
TEMPLATES = ("capital of {} is", "the capital of {} is", "of {} is")

PROMPTS = tuple(
    (template.format(city), STATES[state]) for city, state in CITIES.items() for template in TEMPLATES
)
"""Texts with the state that each is about."""

CONSTANT = 400.0
"""Signal that keeps the variance of the residual stream nearly the same."""

LAYERS, DISTRACTORS, NOISY = 3, 2, 12
"""Layers, distractors of each of the first two, and noise neurons of each."""

Node = tuple[int, int]
"""Layer and neuron."""

LOGIT: Node = (LAYERS, 0)
"""End point of an edge into what is explained."""


@dataclass(frozen=True)
class Truth:
    """The circuit of one state."""

    nodes: frozenset[Node]
    edges: frozenset[tuple[Node, Node]]
    """From source to target."""


@dataclass
class _Signals:
    """Directions of the residual stream, by name."""

    names: list[str]

    @property
    def width(self) -> int:
        return 2 * len(self.names)

    def of(self, name: str) -> Float[Tensor, " d"]:
        direction = torch.zeros(self.width)
        at = 2 * self.names.index(name)
        direction[at], direction[at + 1] = 0.5**0.5, -(0.5**0.5)
        return direction

    def sum(self, amounts: dict[str, float]) -> Float[Tensor, " d"]:
        return sum((amount * self.of(name) for name, amount in amounts.items()), torch.zeros(self.width))


@dataclass(frozen=True)
class _Neuron:
    reads: dict[str, float]
    bias: float
    writes: dict[str, float]
    circuit: tuple[int, ...] = ()
    """Indices of the states whose circuit it is in."""

    hears: tuple[str, ...] = ()
    """Signals by which it hears of other neurons of the circuit."""


def _neurons() -> list[list[_Neuron]]:
    """Return each layer's neurons, without noise."""
    states = range(len(STATES))
    cities = [
        _Neuron({f"moved {city}": 2.0, "word is": 2.0}, -3.0, {f"state {state}": 1.0}, (state,))
        for city, state in CITIES.items()
    ]
    amounts = (0.75, 0.75, -0.5)  # a redundant pair, and an inhibitor
    hops = [
        _Neuron({f"state {s}": 2.0}, -1.0, {f"capital {s}": amount}, (s,), (f"state {s}",))
        for s in states
        for amount in amounts
    ]
    answers = [
        _Neuron({f"capital {s}": 4 / 3}, -1 / 3, {f"answer {s}": 10.0}, (s,), (f"capital {s}",))
        for s in states
    ]
    idle = [_Neuron({"word is": 1.0}, -0.1, {f"nothing {i}": 5.0}) for i in range(DISTRACTORS)]
    return [[*cities, *idle], [*hops, *idle], answers]


def truths() -> dict[str, Truth]:
    """Return the circuit of each state: a neuron hears of every other that writes a signal that it reads."""
    layers = _neurons()
    found = {}
    for index, state in enumerate(STATES):
        inside = [
            ((layer, i), neuron)
            for layer, neurons in enumerate(layers)
            for i, neuron in enumerate(neurons)
            if index in neuron.circuit
        ]
        edges = {
            (source, target)
            for source, writer in inside
            for target, reader in inside
            if set(writer.writes) & set(reader.hears)
        }
        edges |= {(node, LOGIT) for node, neuron in inside if f"answer {index}" in neuron.writes}
        found[state] = Truth(frozenset(node for node, _ in inside), frozenset(edges))
    return found


def write_planted(folder: Path, noise: float = 0.0, seed: int = 0) -> dict[str, Truth]:
    """Write the checkpoint and return each state's circuit.

    Args:
        folder: to write it to.
        noise: size of the noise neurons' weights; circuits are of the order of 1.
        seed: of these weights.

    """
    signals = _Signals(
        [
            "constant",
            *(f"word {word}" for word in VOCABULARY),
            *(f"moved {city}" for city in CITIES),
            *(f"{kind} {s}" for kind in ("state", "capital", "answer") for s in range(len(STATES))),
            *(f"nothing {i}" for i in range(DISTRACTORS)),
        ]
    )
    layers = _neurons()
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=16,
        n_embd=signals.width,
        n_layer=LAYERS,
        n_head=1,
        n_inner=max(map(len, layers)) + NOISY,
        activation_function="relu",
        tie_word_embeddings=False,
        bos_token_id=0,
        eos_token_id=0,
    )
    model = GPT2LMHeadModel(config).float().eval()
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        _write_ends(model, signals)
        _write_head(model, signals)
        for layer, neurons in enumerate(layers):
            _write_mlp(model.transformer.h[layer].mlp, signals, neurons, noise, random)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return truths()


def _write_ends(model: GPT2LMHeadModel, signals: _Signals) -> None:
    """Write embeddings, unembeddings, and norms that leave the stream as it is."""
    for token, word in enumerate(VOCABULARY):
        model.transformer.wte.weight[token] = signals.sum({"constant": CONSTANT, f"word {word}": 1.0})
    for state, capital in enumerate(CAPITALS):
        model.lm_head.weight[VOCABULARY.index(capital)] = signals.of(f"answer {state}")
    norms = [norm for block in model.transformer.h for norm in (block.ln_1, block.ln_2)]
    for norm in (*norms, model.transformer.ln_f):
        norm.weight.fill_(CONSTANT / signals.width**0.5)


def _write_head(model: GPT2LMHeadModel, signals: _Signals) -> None:
    """Let layer 0 attend to the city, whatever the query, and move its name."""
    attention, width = model.transformer.h[0].attn, signals.width
    attention.c_attn.bias[0] = width**0.5  # undoes the scale of the scores
    for head_dimension, city in enumerate(CITIES):
        word = signals.of(f"word {city}")
        attention.c_attn.weight[:, width] += 20 * word
        attention.c_attn.weight[:, 2 * width + head_dimension] = word
        attention.c_proj.weight[head_dimension] = signals.of(f"moved {city}")


def _write_mlp(
    mlp: torch.nn.Module,
    signals: _Signals,
    neurons: Sequence[_Neuron],
    noise: float,
    random: torch.Generator,
) -> None:
    for index, neuron in enumerate(neurons):
        mlp.c_fc.weight[:, index] = signals.sum(neuron.reads)
        mlp.c_fc.bias[index] = neuron.bias
        mlp.c_proj.weight[index] = signals.sum(neuron.writes)
    for index in range(len(neurons), mlp.c_fc.weight.shape[1]):
        reads, writes = (noise * torch.randn(len(signals.names), generator=random) for _ in range(2))
        names = [name for name in signals.names if name != "constant"]
        mlp.c_fc.weight[:, index] = signals.sum(dict(zip(names, reads.tolist(), strict=False)))
        mlp.c_proj.weight[index] = signals.sum(dict(zip(names, writes.tolist(), strict=False)))


def _tokenizer() -> PreTrainedTokenizerFast:
    words = {word: i for i, word in enumerate(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<bos>", unk_token="<unk>")
