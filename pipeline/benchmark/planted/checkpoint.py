"""A small model written by hand, as a Hugging Face checkpoint, with the circuits that were put into it.

Its MLPs are of ReLU neurons, which are their own exact dictionary (`transcoders: neurons`). It does three
things:

- two hops, `capital of <city> is`: a head brings the city to the last token. In layer 0 a neuron for each
  city writes its state; in layer 1 a redundant pair of neurons for each state, either of which writes half of
  what its capital needs, and an inhibitor that writes against it; in layer 2 a neuron for each capital its
  logit.
- indirect object, `when <A> and <B> went <A> gave to`: a head brings the names, by how often they occur. In
  layer 1 a neuron writes each name that is there, another writes against one that is there twice; in layer 2
  a neuron for each name writes its logit.
- induction, `<f> <w> <t> <f>`: a head tells each token which one is before it, another looks for where that
  is the last token and brings the word there. In layers 1 and 2 a neuron for each word.

Beside them distractors fire in layers 0 and 1 and write much that nothing reads, and all layers have noise
neurons with random weights of a given size.

Signals are pairs of dimensions with opposite signs, so that a layer norm finds no mean, and beside a constant
that is far larger than they are, so that it finds nearly the same variance everywhere: norms then change
nothing.

Legend: d model width, F neurons of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import torch
from jaxtyping import Float
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

STATES = ("Texas", "Ohio", "Utah", "Iowa")
CITIES = {"Dallas": 0, "Waco": 0, "Toledo": 1, "Dayton": 1, "Provo": 2, "Ogden": 2, "Ames": 3, "Dubuque": 3}
CAPITALS = ("Austin", "Columbus", "Salt_Lake_City", "Des_Moines")
NAMES = ("Ann", "Bob", "Eve", "Max")
COLOURS = ("red", "blue", "green", "gold", "pink")
WORDS = ("the", "capital", "of", "is", "when", "and", "went", "gave", "to")
VOCABULARY = ("<bos>", "<unk>", *WORDS, *CITIES, *CAPITALS, *NAMES, *COLOURS)
TEMPLATES = ("capital of {} is", "the capital of {} is", "of {} is")
POSITIONS = 12


def _prompts() -> list[tuple[str, str]]:
    two_hop = [(template.format(city), STATES[s]) for city, s in CITIES.items() for template in TEMPLATES]
    objects = [(f"when {a} and {b} went {a} gave to", b) for b in NAMES for a in NAMES if a != b]
    induction = [
        (f"{first} {word} {third} {first}", word)
        for word in COLOURS
        for first, third in combinations([other for other in COLOURS if other != word], 2)
    ]
    return two_hop + objects + induction


PROMPTS = tuple(_prompts())
"""Texts with the circuit that each is about: a state, or the name or the colour that is the answer."""

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
    """One circuit."""

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
    circuit: str | None = None
    """The circuit that it is in."""

    hears: tuple[str, ...] = ()
    """Signals by which it hears of other neurons of the circuit."""


def _neurons() -> list[list[_Neuron]]:
    """Return each layer's neurons, without noise."""
    cities = [
        _Neuron({f"moved {city}": 2.0, "word is": 2.0}, -3.0, {f"state {STATES[s]}": 1.0}, STATES[s])
        for city, s in CITIES.items()
    ]
    amounts = (0.75, 0.75, -0.5)  # a redundant pair, and an inhibitor
    hops = [
        _Neuron({f"state {s}": 2.0}, -1.0, {f"next {capital}": amount}, s, (f"state {s}",))
        for s, capital in zip(STATES, CAPITALS, strict=True)
        for amount in amounts
    ]
    # A third of the head is at each of three names. One that is there once is 0.7 to the first neuron and
    # nothing to the second; what is there twice the second outweighs.
    once = [_Neuron({f"moved {name}": 3.0}, -0.3, {f"next {name}": 1 / 0.7}, name) for name in NAMES]
    twice = [_Neuron({f"moved {name}": 3.0}, -1.5, {f"next {name}": -5.0}) for name in NAMES]
    found = [_Neuron({f"moved {word}": 2.0}, -1.0, {f"next {word}": 1.0}, word) for word in COLOURS]
    circuits = zip((*CAPITALS, *NAMES, *COLOURS), (*STATES, *NAMES, *COLOURS), strict=True)
    answers = [
        _Neuron({f"next {word}": 4 / 3}, -1 / 3, {f"answer {word}": 10.0}, circuit, (f"next {word}",))
        for word, circuit in circuits
    ]
    idle = [_Neuron({"word is": 1.0}, -0.1, {f"nothing {i}": 5.0}) for i in range(DISTRACTORS)]
    return [[*cities, *idle], [*hops, *idle, *once, *twice, *found], answers]


def truths() -> dict[str, Truth]:
    """Return each circuit: a neuron hears of every other that writes a signal that it reads."""
    layers = _neurons()
    found = {}
    for circuit in (*STATES, *NAMES, *COLOURS):
        inside = [
            ((layer, i), neuron)
            for layer, neurons in enumerate(layers)
            for i, neuron in enumerate(neurons)
            if neuron.circuit == circuit
        ]
        edges = {
            (source, target)
            for source, writer in inside
            for target, reader in inside
            if set(writer.writes) & set(reader.hears)
        }
        edges |= {(node, LOGIT) for node, _ in inside if node[0] == LAYERS - 1}
        found[circuit] = Truth(frozenset(node for node, _ in inside), frozenset(edges))
    return found


def write_planted(folder: Path, noise: float = 0.0, seed: int = 0) -> dict[str, Truth]:
    """Write the checkpoint and return each circuit.

    Args:
        folder: to write it to.
        noise: size of the noise neurons' weights; circuits are of the order of 1.
        seed: of these weights.

    """
    signals = _Signals(
        [
            "constant",
            *(f"word {word}" for word in VOCABULARY),
            *(f"position {position}" for position in range(POSITIONS)),
            *(f"moved {word}" for word in (*CITIES, *NAMES, *COLOURS)),
            *(f"before {word}" for word in COLOURS),
            *(f"state {state}" for state in STATES),
            *(f"{kind} {word}" for kind in ("next", "answer") for word in (*CAPITALS, *NAMES, *COLOURS)),
            *(f"nothing {i}" for i in range(DISTRACTORS)),
        ]
    )
    layers = _neurons()
    config = GPT2Config(
        vocab_size=len(VOCABULARY),
        n_positions=POSITIONS,
        n_embd=signals.width,
        n_layer=LAYERS,
        n_head=2,
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
        _write_heads(model, signals)
        for layer, neurons in enumerate(layers):
            _write_mlp(model.transformer.h[layer].mlp, signals, neurons, noise, random)
    model.save_pretrained(folder)
    _tokenizer().save_pretrained(folder)
    return truths()


def _write_ends(model: GPT2LMHeadModel, signals: _Signals) -> None:
    """Write embeddings, unembeddings, and norms that leave the stream as it is."""
    for token, word in enumerate(VOCABULARY):
        model.transformer.wte.weight[token] = signals.sum({"constant": CONSTANT, f"word {word}": 1.0})
    for position in range(POSITIONS):
        model.transformer.wpe.weight[position] = signals.of(f"position {position}")
    for word in (*CAPITALS, *NAMES, *COLOURS):
        model.lm_head.weight[VOCABULARY.index(word)] = signals.of(f"answer {word}")
    norms = [norm for block in model.transformer.h for norm in (block.ln_1, block.ln_2)]
    for norm in (*norms, model.transformer.ln_f):
        norm.weight.fill_(CONSTANT / signals.width**0.5)


def _write_heads(model: GPT2LMHeadModel, signals: _Signals) -> None:
    """Write two heads of layer 0 (cities, the token before) and two of layer 1 (names, induction)."""
    first, second = (model.transformer.h[layer].attn for layer in (0, 1))
    width = signals.width // 2
    sharp = 20 * width**0.5  # scores are divided by the root of the width
    for attention, words in ((first, tuple(CITIES)), (second, NAMES)):
        attention.c_attn.bias[0] = sharp  # whatever the query
        for word in words:
            attention.c_attn.weight[:, 2 * width] += signals.of(f"word {word}")
        _move(attention, signals, 0, {f"word {word}": f"moved {word}" for word in words})
    for position in range(1, POSITIONS):
        first.c_attn.weight[:, width + position] = sharp * signals.of(f"position {position}")
        first.c_attn.weight[:, 3 * width + position] = signals.of(f"position {position - 1}")
    _move(first, signals, 1, {f"word {word}": f"before {word}" for word in COLOURS})
    for dimension, word in enumerate(COLOURS):
        second.c_attn.weight[:, width + dimension] = sharp * signals.of(f"word {word}")
        second.c_attn.weight[:, 3 * width + dimension] = signals.of(f"before {word}")
    _move(second, signals, 1, {f"word {word}": f"moved {word}" for word in COLOURS})


def _move(attention: torch.nn.Module, signals: _Signals, head: int, moved: dict[str, str]) -> None:
    """Let a head write signals where it finds others."""
    width = signals.width // 2
    for dimension, (read, written) in enumerate(moved.items()):
        attention.c_attn.weight[:, (4 + head) * width + dimension] = signals.of(read)
        attention.c_proj.weight[head * width + dimension] = signals.of(written)


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
