"""Notes: written once, seen by all, never lost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from jobs.notes import main
from pipeline.errors import ConfigurationError, StoreError
from pipeline.results import Results
from pipeline.store.notes import Note, current_notes, exported_notes, import_notes, read_notes, write_note
from pipeline.store.output import Output
from pipeline.store.verify import verify
from tests.support.outputs import write_output
from tests.support.stores import STORES, place
from tests.support.viewers import served


def label(text, *members, **more):
    return Note(kind="label", text=text, members=members or ("1/3",), **more)


RUN = {
    "id": "prompt-1",
    "mode": "direct",
    "changes": [{"node": "1/3@2", "kind": "scale", "value": 0.0}],
    "tokens": [{"token_id": 7, "label": " a", "before": 0.5, "after": 0.25, "logit_change": -1.5}],
    "activations": [{"node": "1/3@2", "before": 2.0, "after": 0.0}],
    "printed": "print(1)",
}


def saved_run(**more):
    note = {"kind": "run", "text": "off", "state": "#/graph/prompt-1?do=1/3@2*0", "run": RUN, "author": "ann"}
    return Note.model_validate(note | more)


@pytest.fixture(params=STORES)
def url(request):
    return place(request)


def test_of_two_people_who_edit_one_label_at_once_neither_loses(url):
    folder = Output(url).folder
    first, _ = write_note(folder, label("old"))
    with ThreadPoolExecutor(8) as people:
        list(people.map(lambda n: write_note(folder, label(f"by {n}", replaces=first)), range(8)))
    current = current_notes(read_notes(folder))
    assert sorted(note.text for note in current.values()) == [f"by {n}" for n in range(8)]


def test_the_newest_of_a_chain_holds_and_a_deletion_ends_it(random_output):
    folder = random_output.folder
    first, _ = write_note(folder, label("one"))
    second, _ = write_note(folder, label("two", replaces=first))
    assert [note.text for note in current_notes(read_notes(folder)).values()] == ["two"]
    write_note(folder, Note(kind="label", deleted=True, replaces=second))
    assert current_notes(read_notes(folder)) == {}
    assert len(read_notes(folder)) == 3


def test_notes_are_tables(random_output):
    folder = random_output.folder
    write_note(folder, label("capital <img onerror=x>", "1/3", "2/4"))
    write_note(folder, Note(kind="group", text="states", members=("1/3@2",), author="ann"))
    write_note(folder, Note(kind="view", text="mine", state="#/graph/a?sel=1/3@2"))
    write_note(folder, saved_run())
    results = Results(random_output.url)
    assert results.sql("select text, members from labels").fetchall() == [
        ("capital <img onerror=x>", ["1/3", "2/4"])
    ]
    assert results.sql("select author, members from groups").fetchall() == [("ann", ["1/3@2"])]
    assert results.sql("select state from views").fetchall() == [("#/graph/a?sel=1/3@2",)]
    question = "select text, id, mode, tokens[1].after, activations[1].node, printed from runs"
    assert results.sql(question).fetchall() == [("off", "prompt-1", "direct", 0.25, "1/3@2", "print(1)")]


def test_notes_go_to_another_output_and_back_once(random_output, tmp_path):
    write_note(random_output.folder, label("kept", author="ann"))
    write_note(random_output.folder, saved_run())
    values = json.loads(json.dumps(exported_notes(random_output.folder)))
    other = Output(tmp_path / "other").folder
    once, twice = list(import_notes(other, values)), list(import_notes(other, values))
    assert once == twice
    assert exported_notes(other) == values
    with pytest.raises(StoreError, match="note 2 of the file is none"):
        list(import_notes(other, [*values, {"kind": "joke"}]))


def test_verify_names_a_damaged_note_and_readers_pass_it_over(random_output):
    write_note(random_output.folder, label("good"))
    assert verify(random_output.url).sound
    random_output.folder.create("_notes/20260101T000000000000-x.json", b'{"kind": "label", "text"')
    report = verify(random_output.url)
    assert [problem.path for problem in report.problems] == ["_notes/20260101T000000000000-x.json"]
    assert [note.text for note in read_notes(random_output.folder).values()] == ["good"]


def test_the_page_writes_and_reads_notes(random_output):
    with served(random_output.url) as server:
        written = server.ask("/api/notes", "POST", {"kind": "label", "text": "x", "members": ["1/3"]}).json
        assert written["id"]
        assert written["created"]
        assert server.ask("/api/notes").json["notes"] == [written]
        emptied = {"kind": "label", "text": "", "members": ["1/3"], "replaces": written["id"]}
        assert server.ask("/api/notes", "POST", emptied).json["deleted"]
        assert server.ask("/api/notes").json["notes"] == []
        one = server.ask("/api/features").json["rows"][0]
        name = f"{one['layer']}/{one['feature']}"
        server.ask("/api/notes", "POST", {"kind": "label", "text": "Texas", "members": [name]})
        assert server.ask("/api/features?q=texas").json["rows"] == [one | {"label": "Texas"}]


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "joke", "text": "x"},
        {"kind": "label", "text": ""},
        {"kind": "label", "text": "x" * 10_001},
        {"kind": "label", "text": "x", "members": ["1:3"]},
        {"kind": "label", "text": "\ud800"},
        {"kind": "label", "text": "x", "more": 1},
        {"kind": "run", "text": "x"},
        {"kind": "label", "text": "x", "run": RUN},
        {"kind": "run", "text": "x", "run": RUN | {"more": 1}},
        {"kind": "run", "text": "x", "run": RUN | {"mode": "joke"}},
        {"kind": "run", "text": "x", "run": RUN | {"tokens": RUN["tokens"] * 65}},
        [],
    ],
)
def test_what_is_no_note_is_refused(random_output, body):
    with served(random_output.url) as server:
        refused = server.ask("/api/notes", "POST", body)
        assert refused.status == 400
        assert server.ask("/api/notes").json["notes"] == []


def test_a_read_only_server_writes_none(random_output):
    with served(random_output.url, read_only=True) as server:
        assert server.ask("/api/notes", "POST", {"kind": "label", "text": "x"}).status == 403
        assert server.ask("/api/sweep").json["can"]["notes"] is False
    assert not read_notes(random_output.folder)


def test_notes_travel_as_a_file(random_output, tmp_path, capsys):
    write_note(random_output.folder, label("kept", author="ann"))
    file, other = tmp_path / "notes.json", write_output(tmp_path / "other", range(2), ["a"])
    assert main([random_output.url, "export", str(file)]) == 0
    assert main([other.url, "import", str(file)]) == 0
    assert "1 notes imported" in capsys.readouterr().out
    assert exported_notes(other.folder) == exported_notes(random_output.folder)
    file.write_text("{}")
    with pytest.raises(ConfigurationError, match="is no list of notes"):
        main([other.url, "import", str(file)])
