"""The page as one file: what it carries is what the server answers, and nothing in it is markup."""

from __future__ import annotations

import gzip
import json
import re
from base64 import b64decode, b64encode
from hashlib import sha256
from html import unescape
from urllib.parse import quote

import pytest

from jobs.view import main
from pipeline.errors import CircuitSweepError, ConfigurationError
from pipeline.results import Results
from pipeline.store.notes import Note, write_note
from pipeline.viewer.export import ExportedPage, export_page
from tests.support.viewers import Answers, unpack


def carried(html):
    text = re.search(r'<script type="application/json" id="embedded">(.*?)</script>', html, re.DOTALL)[1]
    return {name: gzip.decompress(b64decode(data)) for name, data in json.loads(text).items()}


@pytest.fixture(autouse=True)
def few_features(monkeypatch):
    monkeypatch.setattr("pipeline.viewer.export.writing.FEATURES", 4)


@pytest.fixture
def exported(random_output, tmp_path):
    file = tmp_path / "a päge.html"
    ids = [
        id for (id,) in Results(random_output.url).sql("select id from graphs order by id limit 3").fetchall()
    ]
    written = export_page(random_output.url, file, ids, None)
    assert written.bytes == file.stat().st_size
    return file.read_text(), ids


def test_it_carries_what_the_server_answers(exported, random_output):
    html, ids = exported
    answers, ask = carried(html), Answers(random_output.url)
    assert [row["id"] for row in json.loads(answers["/api/prompts"])["rows"]] == ids
    for id in ids:
        header, arrays = unpack(answers[f"/api/graph/{quote(id, '')}"])
        expected, theirs = ask("/api/graph/{key:.+}", {"key": id})
        assert header == expected
        assert all((arrays[name] == theirs[name]).all() for name in ("source", "target", "score"))
    features = [name for name in answers if re.fullmatch(r"/api/feature/\d+/\d+", name)]
    assert features
    for name in features[:5]:
        layer, feature = name.split("/")[-2:]
        assert json.loads(answers[name]) == ask(
            "/api/feature/{layer}/{feature}", {"layer": layer, "feature": feature}
        )
        assert f"{name}/edges?end=source" in answers
    assert json.loads(answers["/api/sweep"])["can"] == {
        "model": False,
        "chat": False,
        "notes": False,
        "sql": False,
    }


def test_its_policy_allows_what_is_in_it_and_nothing_else(exported):
    html, _ = exported
    policy = unescape(re.search(r'Content-Security-Policy" content="(.*?)"', html)[1])
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    parts = {
        "style-src": re.findall(r"<style>(.*?)</style>", html, re.DOTALL),
        "script-src": re.findall(r'<script type="(?:importmap|module)">(.*?)</script>', html, re.DOTALL),
    }
    for directive, texts in parts.items():
        allowed = next(part for part in policy.split("; ") if part.startswith(directive))
        for text in texts:
            assert b64encode(sha256(text.encode()).digest()).decode() in allowed
    assert not re.findall(r'(?:src|href)="(?!data:)', html)


def test_nothing_that_strangers_wrote_is_markup(random_output, tmp_path):

    write_note(
        random_output.folder,
        Note(kind="label", text="</script><img src=x onerror=alert(1)>", members=("1/3",)),
    )
    export_page(random_output.url, tmp_path / "page.html", [], "positions > 0")
    html = (tmp_path / "page.html").read_text()
    assert "onerror" not in html
    assert html.count("</script>") == 4


def test_the_command_writes_it_and_names_what_is_wrong(random_output, tmp_path, capsys):
    file = tmp_path / "page.html"
    assert main([random_output.url, "--export", str(file), "--where", "family = 'a'"]) == 0
    assert "prompts and" in capsys.readouterr().out
    assert len(json.loads(carried(file.read_text())["/api/prompts"])["rows"]) > 1
    with pytest.raises(CircuitSweepError, match="no graph"):
        main([random_output.url, "--export", str(file), "--prompt", "nothing"])
    with pytest.raises(ConfigurationError, match="no prompt is chosen"):
        main([random_output.url, "--export", str(file), "--where", "false"])
    with pytest.raises(ConfigurationError, match="say what --export writes"):
        main([random_output.url, "--where", "true"])
    with pytest.raises(ConfigurationError, match="cannot be written"):
        main([random_output.url, "--export", str(tmp_path / "no" / "page.html")])


def test_families_and_all_prompts_have_their_circuits_and_features_their_prompts(exported, random_output):
    html, ids = exported
    answers, ask = carried(html), Answers(random_output.url)
    assert json.loads(answers["/api/circuit"])["prompts"] == len(ids)
    label = next(name.partition("label=")[2] for name in answers if name.startswith("/api/circuit?"))
    assert json.loads(answers[f"/api/circuit?label={label}"]) == ask("/api/circuit", label=label)
    kept = json.loads(answers["/export/features"])
    rows = json.loads(answers["/api/prompts"])["rows"]
    assert {*kept} == {row["prompt_key"] for row in rows}
    for row in rows:
        names = Results(random_output.url).sql(
            "select concat(layer, '/', feature, '@', position) from nodes where kind = 'feature' "
            f"and prompt_key = {row['prompt_key']}"
        )
        assert {*kept[row["prompt_key"]]} == {name for (name,) in names.fetchall()}


def test_notes_and_recorded_runs_are_carried(random_output, tmp_path):
    write_note(random_output.folder, Note(kind="label", text="a label", members=("1/3",)))
    export_page(random_output.url, tmp_path / "page.html", [], "positions > 0")
    notes = json.loads(carried((tmp_path / "page.html").read_text())["/api/notes"])["notes"]
    assert [note["text"] for note in notes] == ["a label"]


def test_a_page_too_large_for_browsers_becomes_a_folder_with_scripts(random_output, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.viewer.export.writing.MOST_BYTES", 1000)
    monkeypatch.setattr("pipeline.viewer.export.writing.SCRIPT_BYTES", 20_000)
    written = export_page(random_output.url, tmp_path / "page.html", [], None)
    assert isinstance(written, ExportedPage)
    assert written.path == tmp_path / "page"
    assert not (tmp_path / "page.html").exists()
    files = [path for path in written.path.rglob("*") if path.is_file()]
    assert written.bytes == sum(path.stat().st_size for path in files)
    html = (written.path / "index.html").read_text()
    places = json.loads(re.search(r'id="embedded">(.*?)</script>', html, re.DOTALL)[1])
    assert isinstance(places["/api/prompts"], str)
    numbers = {place for place in places.values() if isinstance(place, int)}
    assert len(numbers) > 2
    assert {path.name for path in files} == {"index.html", *(f"{number}.js" for number in numbers)}
    ask = Answers(random_output.url)
    for name, place in places.items():
        if isinstance(place, int):
            text = (written.path / "data" / f"{place}.js").read_text()
            answers = json.loads(text.removeprefix("viewerData(").removesuffix(");\n"))
            if name.startswith("/api/graph/"):
                header, _ = unpack(gzip.decompress(b64decode(answers[name])))
                expected, _ = ask("/api/graph/{key:.+}", {"key": header["prompt"]["id"]})
                assert header == expected
    with pytest.raises(ConfigurationError, match="is there already"):
        export_page(random_output.url, tmp_path / "page.html", [], None)
