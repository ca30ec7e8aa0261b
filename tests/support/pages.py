"""The documentation's pages, taken apart: code blocks, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NOT_RUN = re.compile(r"<!-- not run: .+ -->\n$")
LINK = re.compile(r"\]\(([^()\s]+)\)|^\[[\w-]+\]: (\S+)$", re.MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


@dataclass(frozen=True)
class CodeBlock:
    """A fenced piece of a page."""

    page: Path
    line: int
    """Of its first line of code."""

    language: str
    code: str
    is_run: bool
    """Whether no comment before it says that it cannot be."""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def code_blocks(language: str) -> list[CodeBlock]:
    """Return all blocks in a language, page by page."""
    return [block for page in PAGES for block in _blocks(page) if block.language == language]


def scripts() -> list[CodeBlock]:
    """Return the shell scripts among the examples, as if each were a block of a page."""
    return [
        CodeBlock(path, 1, "bash", path.read_text(), False)
        for path in sorted((ROOT / "examples").glob("*.sh"))
    ]


def _blocks(page: Path) -> list[CodeBlock]:
    text = page.read_text()
    return [
        CodeBlock(
            page=page,
            line=text.count("\n", 0, found.start(2)) + 1,
            language=found[1],
            code=found[2],
            is_run=not NOT_RUN.search(text, 0, found.start()),
        )
        for found in FENCE.finditer(text)
    ]


def prose(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", page.read_text())


def links(page: Path) -> list[str]:
    """Return the targets of a page's links that stay within the repository."""
    found = (inline or reference for inline, reference in LINK.findall(prose(page)))
    return [target for target in found if "://" not in target]


def anchors(page: Path) -> set[str]:
    """Return the names that a code host gives to a page's headings."""
    return {_anchor(heading) for heading in HEADING.findall(prose(page))}


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.lower().strip())
    return kept.replace(" ", "-")
