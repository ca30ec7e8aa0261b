"""The label that a feature is shown with, of all that notes give it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.store.files import DataFolder
from pipeline.store.notes.note import Note, current_notes, read_notes

FALSE_DISCOVERY_RATE = 0.05
"""Share of labels said to beat the control that do not."""


@dataclass(frozen=True)
class FeatureLabel:
    """A label, and what it is worth."""

    text: str

    source: str = ""
    """Its origin; empty if somebody wrote it here."""

    score: float | None = None

    beats_control: bool | None = None
    """True if it tells active from inactive examples better than another feature's label does; None where
    that was not measured."""

    def __str__(self) -> str:
        return f"{self.text} (unproven)" if self.beats_control is False else self.text


def feature_labels(current: Mapping[str, Note]) -> dict[str, FeatureLabel]:
    """Return the label of each feature (`2/350`) or node (`2/350@8`) that has one.

    Of several, one that somebody wrote goes before one from elsewhere, then one that is not known to be worth
    nothing before one that is, then the newest.

    Args:
        current: the notes that hold, oldest first.

    """
    proven = beats_control(current)
    found: dict[str, tuple[tuple[bool, bool], FeatureLabel]] = {}
    for id, note in current.items():
        if note.kind != "label":
            continue
        verdict = proven.get(id)
        rank = (not note.source, verdict is not False)
        label = FeatureLabel(note.text, note.source, note.score, verdict)
        for member in note.members:
            if member not in found or rank >= found[member][0]:
                found[member] = rank, label
    return {member: label for member, (_, label) in found.items()}


def labels_beside(folder: DataFolder) -> dict[str, FeatureLabel]:
    """Return the labels that the notes of an output give now."""
    return feature_labels(current_notes(read_notes(folder)))


def beats_control(current: Mapping[str, Note]) -> dict[str, bool]:
    """Say of each label that was scored beside a control if it beats it, by the note's id.

    Labels of one source are judged together: at most 5% of those that pass do so by chance
    (Benjamini-Hochberg).
    """
    by_source: dict[str, dict[str, float]] = defaultdict(dict)
    for id, note in current.items():
        if note.kind == "label" and note.p_value is not None:
            by_source[note.source][id] = note.p_value
    if not by_source:
        return {}
    from scipy.stats import false_discovery_control  # only where there is something to judge

    verdicts: dict[str, bool] = {}
    for p_values in by_source.values():
        adjusted = false_discovery_control(list(p_values.values()))
        verdicts |= {id: bool(q <= FALSE_DISCOVERY_RATE) for id, q in zip(p_values, adjusted, strict=True)}
    return verdicts
