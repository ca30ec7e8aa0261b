"""Labels that others made, read from their files: Parquet, JSON lines, and Neuronpedia's exports.

A row of a table names its feature by `layer` and `feature` (or `feature: 2/350`), and has the label under
`label`; `score` and `source` are optional. Neuronpedia's rows are explanations: `layer` is a source, such as
`20-gemmascope-transcoder-16k`, which begins with the layer's number, `index` a string, `description` the
label, and `scores` a list; its documents of features hold a list of these under `explanations`.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName, parse_feature
from pipeline.store import Note
from pipeline.untrusted import count_lines, open_regular, parse_json, read_bounded

FILE_BYTES = 1 << 30
"""Largest file of labels, unpacked."""

LONGEST = 10_000
"""Most characters of a label."""

TEXTS = ("label", "description", "text", "explanation")
"""Names of the column with the label, the first that there is."""

INDICES = ("feature", "index")
"""Names of the column with the feature's index in its layer."""


def read_label_file(path: Path, source: str | None = None) -> list[Note]:
    """Read labels as notes; rows without a label are left out.

    Args:
        path: a file that ends in `.parquet`, `.jsonl`, `.json`, or one of the last two and `.gz`.
        source: origin that is noted for each, by default what the row says, else the file's name.

    Raises:
        ConfigurationError: the file cannot be read, or a row names no feature.

    """
    try:
        rows = _rows(path)
    except (OSError, ValueError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.") from error
    notes = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ConfigurationError(f"{path}: row {number:,} is no object with `layer`, `feature`, `label`.")
        for explanation in _explanations(row):
            note = _note(explanation, source, path, number)
            if note is not None:
                notes.append(note)
    if not notes:
        raise ConfigurationError(
            f"{path} is no list of notes and holds no label: rows have `layer`, `feature` and `label`, or "
            "are those of a Neuronpedia export."
        )
    return notes


def new_labels(current: Mapping[str, Note], notes: list[Note]) -> list[Note]:
    """Return the notes that are not there yet, word for word of the same features and origin."""
    there = {(note.text, note.members, note.source) for note in current.values()}
    return [note for note in notes if (note.text, note.members, note.source) not in there]


def is_note_file(values: object) -> bool:
    """Tell notes that `notes ... export` wrote from labels of others."""
    return isinstance(values, list) and all(isinstance(row, dict) and "kind" in row for row in values)


def _rows(path: Path) -> list[Any]:
    suffixes = [suffix for suffix in path.suffixes if suffix != ".gz"]
    if suffixes[-1:] == [".parquet"]:
        with open_regular(path) as file:
            return pq.read_table(file).to_pylist()
    if suffixes[-1:] == [".jsonl"]:
        count_lines(path, is_json=True)
        return [parse_json(line) for line in _text(path).splitlines() if line.strip()]
    if suffixes[-1:] == [".json"]:
        found = parse_json(_text(path))
        return found if isinstance(found, list) else [found]
    raise ValueError("labels are read from .parquet, .jsonl, .json, .jsonl.gz and .json.gz")


def _text(path: Path) -> bytes:
    if path.suffix != ".gz":
        return read_bounded(path, FILE_BYTES)
    with open_regular(path) as plain, gzip.open(plain) as file:
        data = file.read(FILE_BYTES + 1)
    if len(data) > FILE_BYTES:
        raise ValueError(f"unpacked it is larger than {FILE_BYTES:,} bytes")
    return data


def _explanations(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the labels of a row: itself, or those that a feature's document holds."""
    if not isinstance(row.get("explanations"), list):
        yield row
        return
    feature = {name: row[name] for name in ("modelId", "layer", "index") if name in row}
    for explanation in row["explanations"]:
        if isinstance(explanation, dict):
            yield feature | explanation


def _note(row: Mapping[str, Any], source: str | None, path: Path, number: int) -> Note | None:
    text = next((str(row[name]).strip() for name in TEXTS if row.get(name)), "")
    if not text:
        return None
    try:
        measure, score = _score(row)
        return Note(
            kind="label",
            text=text[:LONGEST],
            members=(str(_feature(row)),),
            source=(source or _source(row, path))[:500],
            measure=measure[:100],
            score=score,
        )
    except (ValueError, TypeError, ConfigurationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise ConfigurationError(f"{path}: row {number:,}: {reason.rstrip('.')}.") from error


def _feature(row: Mapping[str, Any]) -> FeatureName:
    index = next((row[name] for name in INDICES if row.get(name) is not None), None)
    if index is None:
        raise ValueError("it names no feature: give `layer` and `feature` (or `index`), or `feature: 2/350`")
    if not str(index).isdigit():
        return parse_feature(str(index), "refused")
    layer = re.match(r"\d+", str(row.get("layer", "")), re.ASCII)
    if layer is None:
        raise ValueError(f"its layer is {json.dumps(row.get('layer'))}, which begins with no number")
    return parse_feature(f"{layer[0]}/{index}", "refused")


def _source(row: Mapping[str, Any], path: Path) -> str:
    if row.get("source"):
        return str(row["source"])
    if row.get("modelId"):
        return f"Neuronpedia, {row['modelId']}, {row.get('explanationModelName') or 'a person'}"
    return path.name


def _score(row: Mapping[str, Any]) -> tuple[str, float | None]:
    """Return what a row's score measures, and the score."""
    if row.get("score") is not None:
        return str(row.get("measure") or "score"), float(row["score"])
    scores = row.get("scores")
    for score in scores if isinstance(scores, list) else []:
        if isinstance(score, dict) and score.get("value") is not None:
            return str(score.get("explanationScoreTypeName") or "score"), float(score["value"])
    return "", None
