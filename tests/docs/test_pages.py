"""Pages say what is so: their links lead somewhere, what is generated is current, what they name exists."""

from __future__ import annotations

import ast
import re

import pytest

from docs.draw_graph import draw
from docs.generate import PICTURE, regenerated
from schemas import EVERY_TABLE
from tests.support.pages import PAGES, ROOT, anchors, links, prose

COLUMN = re.compile(rf"`({'|'.join(EVERY_TABLE)})\.(?!parquet)(\w+)`")

PATHS_OF_OTHERS = re.compile(r"(?<!\w)/(work|tmp)\b|\bshared/")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors(there), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_generated_parts_are_current(page):
    assert page.read_text() == regenerated(page.read_text()), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_columns_that_are_named_exist(page):
    for table, column in COLUMN.findall(prose(page)):
        assert column in EVERY_TABLE[table].schema.names, f"{page.name} names {table}.{column}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_nothing_outside_of_the_repository(page):
    assert not PATHS_OF_OTHERS.search(page.read_text())


def test_the_picture_is_current():
    """Nodes, edges and their signs are those of the graph; widths may differ in their last digit."""
    assert _shapes(PICTURE.read_text()) == _shapes(draw()), "run `make docs`"


def _shapes(svg: str) -> list[str]:
    return sorted(re.sub(r' stroke-width="[\d.]+"', "", line) for line in svg.splitlines())


def _literals() -> str:
    """Return every text in the code, each on a line of its own."""
    sources = [path for room in ("pipeline", "jobs") for path in (ROOT / room).rglob("*.py")]
    nodes = (node for path in sources for node in ast.walk(ast.parse(path.read_text())))
    return "\n".join(
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def test_messages_of_troubleshooting_are_in_the_code():
    page = (ROOT / "docs/troubleshooting.md").read_text()
    messages = re.findall(r"^\| `([^`]+)` \|", page, flags=re.MULTILINE)
    assert len(messages) > 30
    said = _literals()
    assert [message for message in messages if message not in said] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 200
