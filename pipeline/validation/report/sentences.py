"""Sentences for each group that say what was shown and what was not."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.validation.report.groups import GroupReport, Measured
from pipeline.validation.report.measures import FREE, HELD, REPLACEMENT

IN_WORDS = {
    "null": "matched sets",
    "active_null": "equal sets of any active features",
    "by_norm": "as many of the largest",
    "worst": "the worst set outside",
}
"""Competitors as sentences name them."""

IN_RUN = {HELD: "patterns held", FREE: "patterns free", REPLACEMENT: "replacement run"}
"""Runs as sentences name them."""


def sentences(report: GroupReport) -> list[str]:
    """Return what a group's validation shows."""
    if report.necessary is None:
        return ["Nothing is at stake in any of its graphs, so nothing can be said of its circuits."]
    found = [
        f"Necessity: {report.necessary:.0%} of the {report.at_stake:,} graphs at stake have a circuit that is"
        " shown to be necessary."
    ]
    for name, question in (("necessity", "Taken away"), ("sufficiency", "Left alone")):
        lines = [m for m in report.measured if m.measure.name == name and m.circuits is not None]
        verb = "lose" if name == "necessity" else "keep"
        shares = _list(f"{m.circuits.value:.0%} ({IN_RUN[m.measure.run]})" for m in lines if m.circuits)
        found.append(f"{question}, circuits {verb} {shares} of what is at stake.")
        found += [_against(m, verb) for m in lines if m.measure.run in (HELD, REPLACEMENT)]
    if report.null_size_ratio is not None and report.null_size_ratio < 0.95:
        ratio = f"{report.null_size_ratio:.0%}"
        found.append(f"Matched sets are short of features: they write {ratio} of what circuits do.")
    found.append(_of_influence(report))
    return found


def _against(measured: Measured, verb: str) -> str:
    """Say which competitors a circuit beats, which beat it, and what is open."""
    more, less, open_ = [], [], []
    for end, compared in measured.competitors.items():
        difference = compared.difference
        if difference is None:
            continue
        outcome = more if difference.is_above_zero else less if difference.is_below_zero else open_
        outcome.append(IN_WORDS[end])
    parts = [
        f"{verb} more than {_list(more)}" if more else "",
        f"{verb} less than {_list(less)}" if less else "",
        f"are not shown to differ from {_list(open_)}" if open_ else "",
    ]
    run = IN_RUN[measured.measure.run].capitalize()
    return f"{run}: circuits {', and '.join(part for part in parts if part)}."


def _of_influence(report: GroupReport) -> str:
    measured = [gain for gain in report.gains if gain.difference is not None]
    beaten = [gain.name for gain in measured if gain.is_shown]
    others = [gain.name for gain in measured if not gain.is_shown]
    if not measured:
        return "Nothing can be said of what influence adds."
    if not others:
        return "Influence ranks ablations better than each simpler ranking."
    shown = f"; it is shown beside {_list(beaten)} only" if beaten else ""
    return f"Multi-hop influence is not shown to add anything to {_list(others)}{shown}."


def _list(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
