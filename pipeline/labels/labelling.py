"""Labels that a language model makes of features, and what they are worth on contexts that it was not shown.

Two rounds, each resumable: every feature is named from its strongest contexts; then every label is tried on
held-out contexts, beside the label of another feature, drawn at random. What is done is written as notes, a
few at a time, so that a stop loses little; what is there already is not asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from typing import TypeVar

import numpy as np

from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName
from pipeline.labels.endpoint import Endpoint
from pipeline.labels.examples import Contexts, FeatureExamples
from pipeline.labels.questions import (
    LABEL_ROLE,
    TRIAL_ROLE,
    label_question,
    read_label,
    read_trial,
    trial_question,
)
from pipeline.labels.scoring import score_label
from pipeline.results import Results
from pipeline.store import Note, current_notes, read_notes, write_notes

log = logging.getLogger(__name__)

MEASURE = "balanced accuracy"

WRITTEN_AT_ONCE = 20
"""Notes of a file, at most so many of which a stop can lose."""

TOP = """
    select layer, feature from nodes where kind = 'feature' group by all
    order by sum(influence::double) desc, layer, feature limit {top}
"""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class LabelPlan:
    """The features to label, and what is there already."""

    examples: tuple[FeatureExamples, ...]
    there: dict[str, tuple[str, Note]]
    """Of each feature that the same model labelled: the note's id and the note."""

    source: str

    @property
    def to_label(self) -> list[FeatureExamples]:
        """Features without a label of this model, and with examples to make one from."""
        return [each for each in self.examples if each.shown and str(each.feature) not in self.there]

    @property
    def to_score(self) -> list[FeatureExamples]:
        """Features whose label is or will be there, was not scored, and can be."""
        return [each for each in self.examples if each.can_be_tried and self._lacks_score(each)]

    @property
    def requests(self) -> int:
        """Requests that all this takes, if each is answered at once."""
        return len(self.to_label) + 2 * len(self.to_score)

    @property
    def without_examples(self) -> int:
        """Features that are active on no prompt that may be shown."""
        return sum(not each.shown for each in self.examples)

    @property
    def cannot_be_scored(self) -> int:
        """Features that are active, or silent, on too few held-out prompts."""
        return sum(bool(each.shown) and not each.can_be_tried for each in self.examples)

    def first_question(self) -> str:
        """Return the text of the first request."""
        if self.to_label:
            return label_question(self.to_label[0].shown)
        if self.to_score:
            first = self.to_score[0]
            return trial_question(self.there[str(first.feature)][1].text, _texts(first)[0])
        return ""

    def _lacks_score(self, each: FeatureExamples) -> bool:
        known = self.there.get(str(each.feature))
        return bool(each.shown) if known is None else known[1].p_value is None


@dataclass(frozen=True)
class LabelReport:
    """What came of it."""

    labelled: int
    scored: int
    unreadable: int
    """Answers that held no label or no verdict."""


def plan_labels(
    results: Results,
    source: str,
    features: Sequence[FeatureName] = (),
    top: int = 50,
    cluster: str | None = None,
) -> LabelPlan:
    """Choose features and their examples; nothing is sent.

    Args:
        results: a sweep.
        source: name of the model that will be asked, as notes have it.
        features: those to label; by default the `top` by influence.
        top: number of features.
        cluster: column of `graphs` with clusters of prompts.

    Raises:
        ConfigurationError: there is no such column, or no feature.

    """
    chosen = list(features) or [FeatureName(*row) for row in results.sql(TOP.format(top=top)).fetchall()]
    if not chosen:
        raise ConfigurationError(f"{results.url} has no feature in any graph: there is nothing to label.")
    examples = Contexts(results, cluster).examples(chosen)
    there = {
        note.members[0]: (id, note)
        for id, note in current_notes(read_notes(results.output.folder)).items()
        if note.kind == "label" and note.source == source and len(note.members) == 1
    }
    return LabelPlan(tuple(examples), there, source)


def make_labels(
    results: Results,
    plan: LabelPlan,
    endpoint: Endpoint,
    parallel: int = 4,
    progress: Callable[[str], None] = lambda _: None,
    seed: int = 0,
) -> LabelReport:
    """Ask for labels and for verdicts, and write both as notes.

    Args:
        results: the sweep.
        plan: the features.
        endpoint: the model to ask.
        parallel: requests at once.
        progress: told what is done.
        seed: of the choice of controls and the order of examples.

    Raises:
        EndpointError: the server does not answer; what was done until then is kept.
        StoreError: notes cannot be written.

    """
    folder = results.output.folder

    def named(each: FeatureExamples) -> Note | None:
        text = read_label(endpoint.ask(LABEL_ROLE, label_question(each.shown)))
        member = (str(each.feature),)
        return Note(kind="label", text=text, members=member, source=plan.source) if text else None

    there, unreadable = dict(plan.there), 0
    for notes in _in_batches(_answered(named, plan.to_label, parallel)):
        kept = [note for note in notes if note is not None]
        unreadable += len(notes) - len(kept)
        for id, note in zip(write_notes(folder, kept), kept, strict=True):
            there[note.members[0]] = id, note
        progress(f"{len(there) - len(plan.there):,} of {len(plan.to_label):,} features labelled")
    labelled, scored = len(there) - len(plan.there), 0
    trials = [(each, *there[str(each.feature)]) for each in plan.to_score if str(each.feature) in there]
    texts = {name: note.text for name, (_, note) in there.items()}

    def tried(trial: tuple[FeatureExamples, str, Note]) -> Note | None:
        return _scored(*trial, texts, endpoint, seed)

    for notes in _in_batches(_answered(tried, trials if len({*texts.values()}) > 1 else [], parallel)):
        kept = [note for note in notes if note is not None]
        unreadable += len(notes) - len(kept)
        write_notes(folder, kept)
        scored += len(kept)
        progress(f"{scored:,} of {len(trials):,} labels scored")
    return LabelReport(labelled, scored, unreadable)


def _scored(
    each: FeatureExamples, id: str, note: Note, texts: dict[str, str], endpoint: Endpoint, seed: int
) -> Note | None:
    """Return a label's note with its score; None if an answer cannot be read."""
    random = np.random.default_rng([seed, each.feature.layer, each.feature.feature])
    others = sorted({text for text in texts.values() if text != note.text})
    control = others[random.integers(len(others))]
    examples, active = _texts(each, seed)
    said = [
        read_trial(endpoint.ask(TRIAL_ROLE, trial_question(label, examples)), len(examples))
        for label in (note.text, control)
    ]
    if said[0] is None or said[1] is None:
        return None
    found = score_label(said[0], said[1], active)
    scores = {"score": found.score, "score_low": found.low, "score_high": found.high}
    more = {"measure": MEASURE, "control": found.control, "p_value": found.p_value, "replaces": id}
    return note.model_copy(update={**scores, **more, "created": None})


def _texts(each: FeatureExamples, seed: int = 0) -> tuple[list[str], list[bool]]:
    """Return the held-out examples in an order that tells nothing, and which of them are active."""
    examples = [*each.active, *each.inactive]
    order = np.random.default_rng([seed, 1, each.feature.layer, each.feature.feature]).permutation(
        len(examples)
    )
    return [examples[i].text for i in order], [bool(i < len(each.active)) for i in order]


def _answered(work: Callable[[T], R], items: Iterable[T], parallel: int) -> Iterator[R]:
    """Do work in threads and yield what is done as it comes.

    After an error nothing new is begun; what was asked already is answered and yielded before it is raised.
    """
    waiting = iter(items)
    first_error: BaseException | None = None
    with ThreadPoolExecutor(parallel, "label") as pool:
        running = {pool.submit(work, item) for item in islice(waiting, parallel)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            errors = [future.exception() for future in done]
            yield from (f.result() for f, error in zip(done, errors, strict=True) if error is None)
            first_error = first_error or next((error for error in errors if error is not None), None)
            if first_error is None:
                running |= {pool.submit(work, item) for item in islice(waiting, len(done))}
    if first_error is not None:
        raise first_error


def _in_batches(results: Iterator[R]) -> Iterator[list[R]]:
    """Yield results a few at a time; what came before an error is yielded, then it is raised."""
    batch: list[R] = []
    error: BaseException | None = None
    while error is None:
        try:
            batch.append(next(results))
        except StopIteration:
            break
        except BaseException as raised:  # Ctrl-C too: what was answered is written first
            error = raised
        if len(batch) == WRITTEN_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
    if error is not None:
        raise error
