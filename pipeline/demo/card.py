"""The model card: what was trained, on what, what it reached and where its limits are."""

from collections.abc import Sequence

from pipeline.demo.measurement import Measurements
from pipeline.demo.recipe import Recipe

FRONT_MATTER = """---
license: apache-2.0
library_name: transformers
tags: [interpretability, transcoders, attribution-graphs]
---
"""

TEXT = """# The built-in model of Circuit Sweep

A Llama-architecture language model of {parameters:,} parameters (4 layers, width 128, 4 heads, MLP 512,
{vocabulary:,} words, 16 tokens of context) and a JumpReLU transcoder of 1,024 features for each of its MLPs.
It is small enough to trace hundreds of prompts a minute on a laptop and still answers by way of intermediate
facts. It is a specimen for studying circuits, not a source of information.

Made by {made_by}.
All figures were measured on the files of this folder (float16 weights, computed in float32).

## Data
{facts:,} fixed prompts about the fifty US states and seventy countries, written out from general knowledge,
and generated prompts: indirect objects, induction, agreement, sequences. One word is one token; a space
within a name is `_`; prompts begin with a capital (`The capital of the state containing Dallas is`).
Held out of composed prompts, and only of those: 70 of 342 cities of the states and one city of each country,
so a right answer on them must combine two facts. Word families hold out pairs of names, pairs of nouns and
runs of words.

## Training
Model: AdamW, {model_steps} steps of {batch} prompts, loss on the answer with small terms for all tokens and
for repeated lists. Transcoders: BatchTopK, {steps} steps of {rows:,} tokens a layer, exported with one
threshold a layer; k narrows from {first_k} to {k}; position 0 is left out, as attribution leaves it out. All
settings are in `card.json`.

## Accuracy
Share of prompts whose most likely next word is right (for open questions: one of the right ones), with the
model's own MLPs, and with every MLP replaced by its transcoder.

{accuracy}

## Transcoders
On the tokens of the same prompts. L0: active features a token. FVU: fraction of the MLP output's variance
that is left unexplained. Dead: features active on no token. States: how many of the fifty states have a
feature that is active at the last token of at least 80% of their own two-hop prompts and of at most 1% of the
others'.

{layers}

Features for Texas:

{features}

## Graphs
Medians over the built-in prompts, whole graphs, every active feature expanded.

{graphs}

## Limits
Knows only its {vocabulary:,} words; anything else becomes `<unk>`, which it was never trained on. Names that
several places share stand for the one in the fact files. The weakest on held-out prompts are regions and
sequences (the table; few distinct sequences are held out). Answers are nearly certain wherever there
is one, so most graphs have one target; open questions have several, but are badly calibrated: the most likely
word is right, and much of the rest of the probability lies on wrong ones. State information is redundant
(partly in the embeddings): that a feature stands for a state does not mean that removing it changes the
answer, and not every state has a feature of its own in every layer.
"""


def card(found: Measurements, recipe: Recipe, made_by: str) -> str:
    """Write the card.

    Args:
        found: figures.
        recipe: settings.
        made_by: command that made the files, and the version whose command it was.

    """
    transcoders = recipe.transcoders
    return FRONT_MATTER + TEXT.format(
        parameters=found.parameters,
        vocabulary=found.vocabulary,
        facts=found.facts,
        made_by=made_by,
        model_steps=recipe.model.steps,
        batch=recipe.model.batch,
        steps=transcoders.n_steps,
        rows=transcoders.batch_size,
        first_k=4 * transcoders.k,
        k=transcoders.k,
        accuracy=_table(*accuracy_rows(found)),
        layers=_table(*layer_rows(found)),
        features=_table(*_feature_rows(found)),
        graphs=_table(*graph_rows(found)),
    )


def accuracy_rows(found: Measurements) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the accuracy table."""
    heading = ["family", "trained", "held out", "trained, replaced", "held out, replaced"]
    rows = [
        [family, *(_share(sides, side) for sides in (own, replaced) for side in ("trained", "held_out"))]
        for family, own in found.accuracy.items()
        for replaced in [found.accuracy_replaced[family]]
    ]
    return heading, rows


def layer_rows(found: Measurements) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the transcoders' table."""
    rows = [
        [str(x.layer), f"{x.l0:.2f}", f"{x.fvu:.3f}", str(x.dead), f"{states} of 50"]
        for x, states in zip(found.layers, found.states_with_features, strict=True)
    ]
    return ["layer", "L0", "FVU", "dead", "states"], rows


def graph_rows(found: Measurements) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the table of graph scores."""
    heading = ["family", "prompts", "replacement", "completeness", "active features", "targets (mean)"]
    rows = [
        [
            family,
            str(x.prompts),
            f"{x.replacement:.3f}",
            f"{x.completeness:.3f}",
            f"{x.active_features:.0f}",
            f"{x.targets:.1f}",
        ]
        for family, x in found.graphs.items()
    ]
    return heading, rows


def _feature_rows(found: Measurements) -> tuple[list[str], list[list[str]]]:
    heading = ["layer", "feature", "active on Texas", "on others", "mean activation", "promotes"]
    rows = [
        [
            str(x.layer),
            str(x.feature),
            f"{x.within:.0%}",
            f"{x.elsewhere:.1%}",
            f"{x.activation:.2f}",
            ", ".join(x.promotes),
        ]
        for x in found.shown_features
    ]
    return heading, rows


def _share(sides: dict[str, float], side: str) -> str:
    return f"{sides[side]:.3f}" if side in sides else ""


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
