"""Sentences that say what a hypothesis showed, and what it did not."""

from __future__ import annotations

from pipeline.validation.hypotheses.verdicts import LEVEL, GroupVerdict, Mean

IN_WORDS = {
    "active": "equal sets of any active features",
    "largest": "as many of the largest features",
    "random": "as many random ones",
    "mixed": "features put in on other prompts",
}
"""Competitors beside matched sets, as sentences name them."""


def verdict_sentences(verdict: GroupVerdict) -> list[str]:
    """Return what a group shows."""
    direction = "lowers" if verdict.effect.value >= 0 else "raises"
    found = [
        f"Changing the chosen features {direction} the logit difference by {abs(verdict.effect.value):.2f} "
        f"({_interval(verdict.effect)}), from {verdict.value:.2f}.",
        _against_matched(verdict),
    ]
    beaten, others = [], []
    for name, words in IN_WORDS.items():
        if name in verdict.kinds:
            more = verdict.kinds[name].more
            shown = more.is_above_zero if verdict.effect.value >= 0 else more.is_below_zero
            (beaten if shown else others).append(words)
    if beaten:
        found.append(f"That is more than {_list(beaten)} do.")
    if others:
        found.append(f"It is not shown to be more than {_list(others)} do.")
    ratio = verdict.kinds["matched"].size_ratio
    if ratio is not None and ratio < 0.95:
        found.append(f"Matched sets are short of features: they write {ratio:.0%} of what these do.")
    found.append(
        f"The likeliest token changes on {verdict.flipped:.0%} of the prompts, and becomes the rival"
        f" on {verdict.moved:.0%}."
    )
    if verdict.left_out:
        found.append(f"On {verdict.left_out:,} more prompts none of the chosen features is active.")
    return found


def _against_matched(verdict: GroupVerdict) -> str:
    matched = verdict.kinds["matched"]
    beside = (
        f"the change with matched sets is {matched.effect.value:.2f}, the difference "
        f"{_interval(matched.more)}, q {verdict.q_value:.2g}"
    )
    if verdict.is_shown:
        return f"Shown to be more than chance: {beside}."
    if matched.more.low is None:
        return f"Not shown to be more than chance, since all prompts are of one cluster: {beside}."
    if verdict.q_value > LEVEL:
        return f"Not shown to be more than chance, since sets of other features do as much: {beside}."
    return f"Not shown to be more than chance, since it varies too much over prompts: {beside}."


def _interval(mean: Mean) -> str:
    return "no interval" if mean.low is None else f"{mean.low:.2f} to {mean.high:.2f}"


def _list(words: list[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
