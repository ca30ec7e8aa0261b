"""The English model's card: what was trained, on what, what it reached and where its limits are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.english.measurement import EnglishMeasurements
from pipeline.english.model import ModelTraining

FRONT_MATTER = """---
license: other
license_name: wordnet
license_link: LICENSE-WordNet
library_name: transformers
language: en
tags: [interpretability, transcoders, attribution-graphs]
---
"""

TEXT = """# The English model of Circuit Sweep

A Llama-architecture language model of {parameters:,} parameters (4 layers, width 128, 4 heads, MLP 384,
4,096 tokens, 128 tokens of context) that writes dictionary definitions, and a transcoder of {features:,}
features with a skip path for each of its MLPs. Texts are WordNet 3.0's definitions, each with its semantic
class, so that a feature's meaning can be checked against labels. It is a specimen for studying features:
what it says of the world is often wrong.

Its recipe is `circuit-sweep train-english --seed {seed}`; all figures were measured on the files of
this folder (float16 weights, computed in float32).

## Model
Trained on {texts:,} definitions, {epochs} times over; {held_out:,} are held out by a hash of their text,
also of the transcoders' training. Perplexity of held-out definitions: {perplexity:.1f} a token
({cross_entropy:.3f} nats).

## Transcoders
Trained by the engine of `circuit-sweep train`, as `pipeline/english/dictionary.yaml` says: BatchTopK, k
{k}, {tokens:,} tokens. On held-out definitions; L0: active features a token; FVU: share of the MLP output's
variance that is left unexplained; dead: features active on none of these tokens.

{layers}

With all MLPs replaced the cross-entropy is {ce_replaced:.3f}, with each writing its mean {ce_means:.3f}, and
the model's own {ce:.3f}: {recovered:.1%} recovered.

Graphs of {prompts} held-out definitions (medians): replacement {replacement:.3f}, completeness
{completeness:.3f}, {active:.0f} active features.

## Classes
The feature that tells each class best, chosen on training texts: it says yes where it is above its threshold
anywhere in a text. F1 on held-out texts, beside that of always saying yes.

{classes}

## Limits
Knows definitions only: their style, not questions or stories. Proper names, species and numbers are made
up. Many features stand for words and phrases rather than meanings, and no class but the clearest has a
feature of its own.
"""


def card(found: EnglishMeasurements, training: ModelTraining, seed: int) -> str:
    """Write the card."""
    config, model, graphs = (found.dictionary[key] for key in ("config", "model", "graphs"))
    return FRONT_MATTER + TEXT.format(
        parameters=found.parameters,
        features=config["features"],
        seed=seed,
        texts=found.texts,
        epochs=training.epochs,
        held_out=found.held_out,
        perplexity=found.perplexity,
        cross_entropy=found.cross_entropy,
        k=config["k"],
        tokens=config["tokens"],
        layers=_table(*layer_rows(found.dictionary["layers"])),
        ce=model["ce"],
        ce_replaced=model["ce_replaced"],
        ce_means=model["ce_means"],
        recovered=model["recovered"],
        prompts=graphs["prompts"],
        replacement=graphs["replacement"],
        completeness=graphs["completeness"],
        active=graphs["active_features"],
        classes=_table(*class_rows(found)),
    )


def layer_rows(layers: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the transcoders' table."""
    rows = [[str(x["layer"]), f"{x['l0']:.2f}", f"{x['fvu']:.3f}", str(x["dead"])] for x in layers]
    return ["layer", "L0", "FVU", "dead"], rows


def class_rows(found: EnglishMeasurements) -> tuple[list[str], list[list[str]]]:
    """Return heading and rows of the table of classes, the best told first."""
    heading = ["class", "feature", "threshold", "F1 where chosen", "F1 held out", "always yes"]
    rows = [
        [
            x["label"],
            f"{x['layer']}/{x['feature']}",
            f"{x['threshold']:.2f}",
            *(f"{x[score]:.2f}" for score in ("train_f1", "f1", "always_yes")),
        ]
        for x in found.classes
    ]
    return heading, rows


def _table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
