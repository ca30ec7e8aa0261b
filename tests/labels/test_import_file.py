"""Labels of others, read from the files that they come in."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.notes import main
from pipeline.errors import ConfigurationError
from pipeline.results import Results
from pipeline.store.notes import Note, current_notes, feature_labels, read_notes, write_note, write_notes

NEURONPEDIA = [
    {
        "modelId": "gemma-2-2b",
        "layer": "20-gemmascope-transcoder-16k",
        "index": "4691",
        "description": " LaTeX formatting",
        "typeName": "oai_token-act-pair",
        "explanationModelName": "gpt-4o-mini",
        "scores": [{"value": 0.75, "explanationScoreTypeName": "eleuther_fuzz"}],
    },
    {"modelId": "gemma-2-2b", "layer": "3-gemmascope-transcoder-16k", "index": "7", "description": "names"},
]


def imported(output, file, *options):
    assert main([output.url, "import", str(file), *options]) == 0
    return (
        Results(output.url)
        .sql("select members[1], text, source, measure, score from labels order by all")
        .fetchall()
    )


def test_parquet_and_json_lines_name_layer_feature_and_label(random_output, tmp_path):
    rows = [
        {"layer": 1, "feature": 3, "label": "capitals", "score": 0.9},
        {"layer": 0, "feature": 2, "label": ""},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "mine.parquet")
    assert imported(random_output, tmp_path / "mine.parquet") == [
        ("1/3", "capitals", "mine.parquet", "score", 0.9)
    ]
    lines = tmp_path / "theirs.jsonl"
    lines.write_text('{"feature": "2/5", "text": "rivers"}\n\n')
    assert imported(random_output, lines, "--source", "ann")[1:] == [("2/5", "rivers", "ann", "", None)]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".jsonl.gz"])
def test_neuronpedia_exports(random_output, tmp_path, suffix):
    lines = "\n".join(map(json.dumps, NEURONPEDIA))
    text = json.dumps(NEURONPEDIA) if suffix == ".json" else lines
    file = tmp_path / f"explanations{suffix}"
    file.write_bytes(gzip.compress(text.encode()) if suffix.endswith("gz") else text.encode())
    source = "Neuronpedia, gemma-2-2b, "
    expected = [
        ("20/4691", "LaTeX formatting", source + "gpt-4o-mini", "eleuther_fuzz", 0.75),
        ("3/7", "names", source + "a person", "", None),
    ]
    assert imported(random_output, file) == expected
    assert imported(random_output, file) == expected  # what is there is not written again


def test_a_neuronpedia_feature_with_its_explanations(random_output, tmp_path):
    document = {
        "modelId": "g",
        "layer": "4-x",
        "index": "9",
        "explanations": [{"description": "a"}, {"description": "b"}],
    }
    (tmp_path / "f.json").write_text(json.dumps(document))
    assert [row[:2] for row in imported(random_output, tmp_path / "f.json")] == [("4/9", "a"), ("4/9", "b")]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.jsonl", '{"label": "x", "layer": 1}', "row 1: it names no feature"),
        ("a.jsonl", '{"label": "x", "layer": "blocks.1", "index": 1}', "begins with no number"),
        ("a.jsonl", '{"label": "x", "feature": "2:5"}', "write 2/5"),
        ("a.jsonl", '{"label": "x", "layer": 1, "feature": 2, "score": "good"}', "row 1: could not convert"),
        ("a.jsonl", '{"layer": 1, "feature": 2}', "holds no label"),
        ("a.jsonl", "[1]", "row 1 is no object"),
        ("a.jsonl", "{", "cannot be read"),
        ("a.jsonl.gz", "not packed", "cannot be read"),
        ("a.parquet", "not Parquet", "cannot be read"),
        ("a.txt", "x", "labels are read from .parquet"),
    ],
)
def test_what_is_no_label_is_refused_by_name(random_output, tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=said):
        main([random_output.url, "import", str(tmp_path / name)])


def test_thousands_of_labels_are_a_few_files_and_each_can_be_replaced(random_output):
    folder = random_output.folder
    notes = [Note(kind="label", text=f"label {n}", members=(f"1/{n}",), source="f") for n in range(3000)]
    ids = write_notes(folder, notes)
    assert len([*folder.list("_notes")]) < 10
    found = read_notes(folder)
    assert [*found] == ids
    assert [note.text for note in found.values()] == [note.text for note in notes]
    write_note(folder, Note(kind="label", text="mine", members=("1/7",), replaces=ids[7]))
    write_note(folder, Note(kind="label", deleted=True, replaces=ids[8]))
    labels = feature_labels(current_notes(read_notes(folder, found)))
    assert labels["1/7"].text == "mine"
    assert "1/8" not in labels
    assert len(labels) == 2999


def test_of_several_labels_a_persons_goes_before_others_and_the_unproven_last(random_output):
    def label(text, **given):
        return Note(kind="label", text=text, members=("1/3",), **given)

    def shown():
        return str(feature_labels(current_notes(read_notes(random_output.folder)))["1/3"])

    write_note(random_output.folder, label("guess", source="model", p_value=0.8))
    assert shown() == "guess (unproven)"
    write_note(random_output.folder, label("proven", source="other", p_value=1e-6))
    assert shown() == "proven"
    write_note(random_output.folder, label("worse", source="model", p_value=0.9))
    assert shown() == "proven"
    write_note(random_output.folder, label("mine"))
    write_note(random_output.folder, label("imported", source="file"))
    assert shown() == "mine"
