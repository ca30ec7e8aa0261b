"""The card of a dictionary: what it is, how good, and what it is bad at, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.features import FeatureName
from pipeline.training.report.agreement import SAME, Agreement
from pipeline.training.report.layer_metrics import LayerMetrics
from pipeline.training.report.measure import DictionaryMetrics, FinishMetrics, TrainingFacts

HIGH_FVU = 0.3
"""Above this a layer's graphs are mostly errors."""


def card(metrics: DictionaryMetrics) -> str:
    """Return the page."""
    return "\n".join(_lines(metrics)) + "\n"


def _lines(metrics: DictionaryMetrics) -> Iterator[str]:
    config = metrics.config
    yield f"# Dictionary of {config['model']}"
    yield ""
    yield (
        f"`{config['kind']}` with {config['features']:,} features a layer, trained with "
        f"{config['activation']} at k = {config['k']}; features read at `{_reads(config)}`."
    )
    yield ""
    yield "## Training"
    yield ""
    yield from _training(metrics)
    yield ""
    yield "## Layers"
    yield ""
    yield (
        f"On {metrics.layers[0].rows:,} tokens of held-out documents that neither weights nor thresholds "
        "have seen. FVU is the share of the MLP output's variance left unexplained; dead features are "
        "active on none of these tokens; norm is the size of what is written over the MLP's, bias 1 where "
        "it is neither too large nor too small; similarity is the mean largest cosine between decoders."
    )
    yield ""
    yield from _table(metrics)
    yield ""
    yield "## The whole model"
    yield ""
    yield from _model(metrics)
    yield ""
    if metrics.finish is not None:
        yield from _finish(metrics, metrics.finish)
    if metrics.classes:
        yield from _classes(metrics)
    if metrics.against is not None:
        yield from _agreement(metrics.against)
    yield "## What it is bad at"
    yield ""
    yield from _weaknesses(metrics)


def _reads(config: dict[str, Any]) -> str:
    return config["hook"] or ("hook_mlp_out" if config["kind"] == "sae" else "mlp.hook_in")


def _training(metrics: DictionaryMetrics) -> Iterator[str]:
    facts, config = metrics.training, metrics.config
    if facts is None:
        yield "Not known: these files were measured, not trained, here."
        return
    yield f"- Text: `{config['text']['source']}`, hash `{facts.text_hash}`"
    yield f"- Tokens: {facts.tokens:,}, {facts.tokens_per_second:,.0f} a second, {facts.seconds:,.0f} s"
    yield from _early_ends(facts)
    if facts.micro_batch is not None:
        yield (
            f"- Micro-batches: {facts.micro_batch:,} tokens at a time in the end, as memory was used up by "
            "more; the sums of a step are the same but for their last digits"
        )
    yield f"- Seed: {facts.seed}"
    yield f"- Start: {config['start'] or 'random weights'}"
    if metrics.start is not None:
        yield f"- Before training: {_range('FVU', [layer.fvu for layer in metrics.start])}, " + _range(
            "L0", [layer.l0 for layer in metrics.start], 1
        )
    yield "- Versions: " + ", ".join(f"{name} {version}" for name, version in facts.versions.items())


def _early_ends(facts: TrainingFacts) -> Iterator[str]:
    """Say which layers stopped improving before the others."""
    early = [layer for layer in facts.layers if layer.tokens < facts.tokens]
    if early:
        told = ", ".join(f"layer {layer.layer} after {layer.tokens:,}" for layer in early)
        yield f"- Ended before the others, as held-out text had stopped improving: {told} tokens"


def _range(name: str, values: Sequence[float], digits: int = 3) -> str:
    return f"{name} {min(values):.{digits}f} to {max(values):.{digits}f}"


def _table(metrics: DictionaryMetrics) -> Iterator[str]:
    facts = {each.layer: each for each in metrics.training.layers} if metrics.training else {}
    head = [
        "layer",
        "gamma",
        "L0",
        "FVU",
        "dead",
        "dead_1M",
        "dead_10M",
        ">1%",
        ">10%",
        "norm",
        "bias",
        "similarity",
        "CE",
    ]
    yield f"| {' | '.join(head)} |"
    yield f"|{' ---: |' * len(head)}"
    for layer in metrics.layers:
        known = facts.get(layer.layer)
        cells = [
            str(layer.layer),
            "" if known is None else f"{known.gamma:.2f}",
            f"{layer.l0:.2f}",
            f"{layer.fvu:.4f}",
            f"{layer.dead:,}",
            *("" if known is None or n is None else f"{n:,}" for n in _long_dead(known)),
            f"{layer.frequent_1:,} ({layer.l0_frequent_1:.0%} of L0)",
            f"{layer.frequent_10:,} ({layer.l0_frequent_10:.0%})",
            f"{layer.norm_ratio:.3f}",
            f"{layer.bias:.3f}",
            f"{layer.decoder_similarity:.3f}",
            f"{metrics.model.ce_layers[layer.layer]:.4f}",
        ]
        yield f"| {' | '.join(cells)} |"


def _long_dead(known: Any) -> tuple[int | None, int | None]:
    return (None, None) if known is None else (known.dead_1m, known.dead_10m)


def _model(metrics: DictionaryMetrics) -> Iterator[str]:
    model, graphs = metrics.model, metrics.graphs
    yield (
        f"Over {model.predictions:,} predictions: cross-entropy {model.ce:.4f}; with all MLPs replaced "
        f"{model.ce_replaced:.4f} (delta {model.ce_replaced - model.ce:+.4f}), with their means "
        f"{model.ce_means:.4f}: {model.recovered:.1%} recovered. KL {model.kl:.4f}, the same most likely "
        f"token in {model.top_1:.1%}."
    )
    if graphs is not None:
        yield ""
        faithful = "not tested" if graphs.faithfulness is None else f"{graphs.faithfulness:.2f}"
        yield (
            f"Graphs of {graphs.prompts} held-out prompts, medians: replacement {graphs.replacement:.3f}, "
            f"completeness {graphs.completeness:.3f}, {graphs.active_features:,.0f} active features; rank "
            f"correlation of influence with the effect of ablation {faithful} (over {graphs.validated} "
            "prompts)."
        )


def _classes(metrics: DictionaryMetrics) -> Iterator[str]:
    yield "## Classes"
    yield ""
    yield (
        "The single feature that tells each class of documents best, chosen on training text; F1 on held-out "
        "text, beside that of always saying yes."
    )
    yield ""
    yield "| class | feature | F1 | always yes |"
    yield "| --- | ---: | ---: | ---: |"
    for found in metrics.classes:
        feature = FeatureName(found.layer, found.feature)
        yield f"| {found.label} | {feature} | {found.f1:.2f} | {found.always_yes:.2f} |"
    yield ""


def _finish(metrics: DictionaryMetrics, finish: FinishMetrics) -> Iterator[str]:
    yield "## Before and after the finish"
    yield ""
    yield (
        f"All layers were trained together for the last {finish.tokens:,} tokens, with every MLP replaced, "
        "on the model's predictions as well. That may move features, so here is what was before. A feature "
        "has moved if its encoder or decoder has a cosine below 0.9 with what it was. All other figures here "
        "are after it."
    )
    yield ""
    yield "| | before | after |"
    yield "| --- | ---: | ---: |"
    for was, now in zip(finish.layers, metrics.layers, strict=True):
        moved = f"{finish.moved[now.layer]:.1%} of features moved"
        yield f"| FVU of layer {now.layer} ({moved}) | {was.fvu:.4f} | {now.fvu:.4f} |"
        yield f"| L0 of layer {now.layer} | {was.l0:.2f} | {now.l0:.2f} |"
    was, now = finish.model, metrics.model
    yield f"| cross-entropy, all replaced (the model's own: {now.ce:.4f}) | {was.ce_replaced:.4f} | " + (
        f"{now.ce_replaced:.4f} |"
    )
    yield f"| KL | {was.kl:.4f} | {now.kl:.4f} |"
    yield f"| recovered | {was.recovered:.1%} | {now.recovered:.1%} |"
    if finish.graphs is not None and metrics.graphs is not None:
        was, now = finish.graphs, metrics.graphs
        yield f"| replacement | {was.replacement:.3f} | {now.replacement:.3f} |"
        yield f"| completeness | {was.completeness:.3f} | {now.completeness:.3f} |"
    yield ""


def _agreement(found: Agreement) -> Iterator[str]:
    yield f"## Beside {found.other}"
    yield ""
    yield (
        f"The share of features that it has too: one of its decoders points the same way, by a cosine above "
        f"{SAME}. Random directions of the same covariance reach what stands beside it."
    )
    yield ""
    yield "| layer | shared | random |"
    yield "| ---: | ---: | ---: |"
    for layer in found.layers:
        yield f"| {layer.layer} | {layer.shared:.1%} | {layer.random:.1%} |"
    yield ""


def _weaknesses(metrics: DictionaryMetrics) -> Iterator[str]:
    said = [_weakness(layer) for layer in metrics.layers]
    found = [line for lines in said for line in lines]
    yield from found or [
        "No layer leaves more than 30% unexplained, and no feature is active on 10% of tokens."
    ]


def _weakness(layer: LayerMetrics) -> Iterator[str]:
    if layer.fvu > HIGH_FVU:
        yield f"- Layer {layer.layer} leaves {layer.fvu:.0%} of the variance unexplained."
    if layer.frequent_10:
        yield (
            f"- Layer {layer.layer} has {layer.frequent_10:,} features that are active on more than 10% of "
            f"the tokens, {layer.l0_frequent_10:.0%} of all activations."
        )
