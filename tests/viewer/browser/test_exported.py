"""Exported pages in a real browser, from a disk: one file, a folder, filters, hostile text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest

from pipeline.viewer.export import export_page
from tests.support.hostile import IDS

DRAWN = """() => !document.querySelector('.busy, .starting')
  && document.querySelector('#main')?.children.length > 0"""


@contextmanager
def opened(browser, path: Path) -> Iterator:
    """A page of a file, without a network: `visit(address)` waits until it is drawn."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, offline=True)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request", lambda request: complaints.append(request.url) if request.url.startswith("http") else None
    )

    def visit(address: str):
        page.goto("about:blank")  # else what stood there before may be taken for the page
        page.goto(path.as_uri() + address)
        for _ in range(300):
            page.wait_for_timeout(60)
            if page.evaluate(DRAWN):
                return page
        raise AssertionError(f"never drawn: {page.inner_text('body')[:300]}")

    yield visit
    assert complaints == []
    context.close()


@pytest.fixture(params=["file", "folder"])
def written(request, random_server, tmp_path, monkeypatch) -> Path:
    """The page of five prompts, in a path with spaces and umlauts."""
    monkeypatch.setattr("pipeline.viewer.export.writing.FEATURES", 10)
    if request.param == "folder":
        monkeypatch.setattr("pipeline.viewer.export.writing.MOST_BYTES", 1000)
        monkeypatch.setattr("pipeline.viewer.export.writing.SCRIPT_BYTES", 30_000)
    file = tmp_path / "mit Räumen und ümläuten" / "page.html"
    file.parent.mkdir()
    path = export_page(random_server.server.viewer.url, file, [], "id < 'prompt-5'").path
    return path / "index.html" if path.is_dir() else path


def test_an_exported_page_opens_from_disk(browser, written) -> None:
    with opened(browser, written) as visit:
        for address, seen in (
            ("#/", "prompt"),
            ("#/prompts", "prompt-3"),
            ("#/features", "features"),
            ("#/graph/prompt-3", "prompt-3"),
            ("#/diff/prompt-3?prompt=prompt-4", "only in A"),
            ("#/circuit?label=a", "circuit"),
            ("#/circuit?keys=prompt-0,prompt-1,prompt-2,prompt-3,prompt-4", "circuit"),
        ):
            page = visit(address)
            assert seen.lower() in page.inner_text("main").lower(), address
            assert page.locator(".trouble").count() == 0, address
        feature = visit("#/features").locator("tbody th a").first.inner_text()
        assert feature in visit(f"#/feature/{feature}").inner_text("main")


def test_prompts_of_an_exported_page_are_filtered_as_the_server_does(browser, written, random_server) -> None:
    keeper = random_server.ask("/api/features").json["rows"][0]
    feature = f"{keeper['layer']}/{keeper['feature']}"
    questions = [
        {},
        {"q": "PROMPT-3"},
        {"q": '"some text" prompt'},
        {"q": "nothing"},
        {"q": feature},
        {"is": "family=a"},
        {"is": "family="},
        {"sort": "-replacement_score"},
        {"sort": "kept_edges", "q": "text"},
        {"sort": "-family"},
    ]
    with opened(browser, written) as visit:
        for question in questions:
            asked = {**question}
            if (facet := asked.pop("is", None)) is not None:
                asked[f"is.{facet.partition('=')[0]}"] = facet.partition("=")[2]
            query = "&".join(f"{name}={quote(value)}" for name, value in asked.items())
            there = random_server.ask(f"/api/prompts?where=id%20%3C%20'prompt-5'&{query}").json
            address = "&".join(f"{name}={quote(value)}" for name, value in question.items())
            page = visit(f"#/prompts?{address}")
            here = page.evaluate(
                """async (params) => { const api = await import('viewer/api.js');
                   const { rows, total, facets } = await api.get('/api/prompts', params);
                   return { rows: rows.map((row) => row.id), total, facets }; }""",
                asked,
            )
            assert here["rows"] == [row["id"] for row in there["rows"]], question
            assert here["total"] == there["total"]
            assert here["facets"] == there["facets"], question
            for id in here["rows"]:
                assert id in page.inner_text(".rows")
        assert "has no SQL" in visit("#/prompts?where=true").inner_text("main")
        missing = visit("#/circuit?keys=prompt-0,prompt-1").inner_text("main")
        assert "not in the exported page" in missing


def test_a_script_that_is_not_beside_the_page_is_named(browser, written) -> None:
    data = written.parent / "data"
    if not data.exists():
        pytest.skip("one file has no scripts beside it")
    for path in data.iterdir():
        path.unlink()
    context = browser.new_context(offline=True)
    page = context.new_page()
    page.goto(written.as_uri() + "#/graph/prompt-3")
    page.wait_for_selector(".trouble")
    assert "is not beside this page" in page.inner_text("main")
    assert "whole folder" in page.inner_text("main")
    context.close()


def test_hostile_text_in_an_exported_page_is_inert(browser, hostile_server, tmp_path) -> None:
    path = tmp_path / "page.html"
    export_page(hostile_server.server.viewer.url, path, [], None)
    addresses = [
        "#/",
        "#/prompts",
        "#/features",
        "#/circuit",
        "#/notes",
        "#/prompts?q=<script>stung=1</script>",
    ]
    with opened(browser, path) as visit:
        for address in [*addresses, *(f"#/graph/{quote(name, safe='')}" for name in IDS)]:
            page = visit(address)
            assert page.evaluate("() => window.stung") is None
            assert page.locator("#app img, #app script").count() == 0
            assert page.locator(".trouble").count() == 0, address
            assert not set(page.inner_text("#app")) & {"\x00", "\x07", "\u202e", "\u2066", "\u200b"}
