"""An audit as a page for people."""

from __future__ import annotations

from pipeline.audit.audit import MARGIN, Audit, Explained, FeatureEffect
from pipeline.document import Document
from pipeline.paired_differences import Difference

PAIRS_SHOWN = 30

METHOD = (
    "The gap is a difference of logits: that of the words that count up less that of those that count down, "
    "behind the prompt with the first group's word, less the same behind the second's. Every pair counts "
    f"once. It counts as a gap if its mean lies beyond {MARGIN} logits (signs flipped, p at most 0.05); "
    "intervals hold 95%.",
    "Features were chosen on one half of the pairs and measured on the other. Swapping sets a feature to "
    "what it is behind the partner's word. Attention patterns are held: what heads look at is no part of "
    "it.",
    "A gap that closes when features are set to 0 shows that it runs through them here; that the model has "
    "no other way, it does not show.",
)


def audit_page(found: Audit) -> Document:
    """Return the report."""
    page = Document(f"Audit {found.pack.name}: {found.model}")
    page.paragraph(found.pack.question)
    page.heading("Is there a difference?")
    page.paragraph(_sentence(found))
    if found.explained is not None:
        _explained(page, found.explained)
    one, other = found.pack.groups
    page.heading("Pair by pair")
    rows = sorted(found.pairs, key=lambda pair: -abs(pair[2]))
    page.table([one, other, "gap, logits"], [[a, b, f"{gap:+.2f}"] for a, b, gap in rows[:PAIRS_SHOWN]])
    page.heading("What this does not say")
    page.items([*found.pack.limits, *METHOD])
    return page


def _sentence(found: Audit) -> str:
    one, other = found.pack.groups
    words = " / ".join(repr(word) for word in found.pack.readout.plus[:3])
    against = " / ".join(repr(word) for word in found.pack.readout.minus[:3])
    size = _interval(found.gap)
    if found.gap.p_value is None:
        return f"Too few pairs to say: {found.gap.clusters}, on which the logits differ by {size}."
    if not found.found:
        return (
            f"Not shown. Between {one} and {other} the logits of {words} against {against} differ by "
            f"{size} over {found.gap.clusters} pairs, no further beyond {MARGIN} logits than chance allows. "
            "No feature was sought."
        )
    more = one if found.gap.mean > 0 else other
    return (
        f"Yes. {words} rather than {against} is likelier behind {more}: by {size} logits over "
        f"{found.gap.clusters} pairs."
    )


def _explained(page: Document, found: Explained) -> None:
    page.heading("Through which features?")
    gap = found.test_gap.mean
    shares = {
        name: f"{value:+.2f} ({value / gap:.0%})"
        for name, value in (("random", found.closed_by_random), ("largest", found.closed_by_largest))
    }
    page.paragraph(
        f"On the half of the pairs that chose nothing the gap is {_interval(found.test_gap)}. Swapping "
        f"the {len(found.features)} chosen features closes {_interval(found.closed)} of it, "
        f"{found.closed.mean / gap:.0%}; as many random ones that differ close {shares['random']}, as many "
        f"of those whose writing changes most {shares['largest']}. Beyond random: "
        f"{_interval(found.beyond_random)}."
    )
    page.table(
        ["feature", "closes, half that chose", "closes, other half", "shown"],
        [
            [
                str(each.feature),
                f"{each.discovery:+.2f}",
                _interval(each.test),
                _verdict(each),
            ]
            for each in found.features
        ],
    )
    page.heading("What does removing them cost?")
    page.paragraph(
        f"With these features at 0 the gap is {_interval(found.left)} (before: {_interval(found.test_gap)}). "
        f"On the control set the answers' log-probability changes by {_interval(found.control)} nats a "
        f"prompt, and {found.right_after:.0%} of them are predicted, {found.right_before:.0%} before."
    )


def _verdict(each: FeatureEffect) -> str:
    if each.q_value is None:
        return "too few pairs"
    return "yes" if each.shown else "no"


def _interval(value: Difference) -> str:
    if value.low is None or value.high is None:
        return f"{value.mean:+.2f}"
    return f"{value.mean:+.2f} ({value.low:+.2f}..{value.high:+.2f})"
