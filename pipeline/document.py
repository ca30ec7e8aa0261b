"""A report as one self-contained file: HTML with its pictures inside, or Markdown without them.

Whatever it is given is text: nothing in it acts in a browser, and no page loads anything from elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ConfigurationError
from pipeline.untrusted import printable

if TYPE_CHECKING:
    from pipeline.untrusted import Console

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
table { border-collapse: collapse; font-size: 0.9rem; } div.wide { overflow-x: auto; }
th, td { padding: 0.25rem 0.7rem; border-bottom: 1px solid #ddd; text-align: left; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
svg { max-width: 100%; height: auto; }
"""

NUMBER = re.compile(r"[-+]?[\d,.]+%?( \([-+]?[\d.]+\.\.[-+]?[\d.]+\))?")
"""Cells that stand to the right."""

_MARKS = re.compile(r"([\\`*_\[\]<>|#])")


@dataclass
class Document:
    """A report, built from top to bottom."""

    title: str
    blocks: list[tuple[str, Any]] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """Add a heading."""
        self.blocks.append(("heading", text))

    def paragraph(self, text: str) -> None:
        """Add a paragraph."""
        self.blocks.append(("paragraph", text))

    def items(self, texts: Sequence[str]) -> None:
        """Add a list."""
        self.blocks.append(("items", list(texts)))

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Add a table of texts."""
        self.blocks.append(("table", (list(header), [list(row) for row in rows])))

    def picture(self, svg: str, words: str) -> None:
        """Add a picture; `words` say what it shows."""
        self.blocks.append(("picture", (svg, words)))

    def html(self) -> str:
        """Return the report as one HTML page."""
        body = "\n".join(_HTML[kind](content) for kind, content in self.blocks)
        title = _text(self.title)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{title}</title>\n<style>{STYLE}</style></head>\n<body>\n<h1>{title}</h1>\n{body}\n"
            "</body></html>\n"
        )

    def markdown(self) -> str:
        """Return the report as Markdown, pictures left out."""
        blocks = (_MARKDOWN[kind](content) for kind, content in self.blocks if kind != "picture")
        return f"# {_marked(self.title)}\n\n" + "\n\n".join(blocks) + "\n"

    def print(self, console: Console) -> None:
        """Print the report, pictures left out."""
        from rich.table import Table

        console.print(self.title, style="bold")
        for kind, content in self.blocks:
            if kind == "heading":
                console.print(f"\n{content}", style="bold")
            elif kind == "table":
                header, rows = content
                table = Table(*header, box=None, padding=(0, 2, 0, 0))
                for row in rows:
                    table.add_row(*row)
                console.print(table)
            elif kind != "picture":
                for text in [content] if kind == "paragraph" else content:
                    console.print(text if kind == "paragraph" else f"- {text}", soft_wrap=True)

    def write(self, path: Path) -> None:
        """Write the report, as the file's suffix says.

        Raises:
            ConfigurationError: the suffix is neither `.html` nor `.md`, or the file cannot be written.

        """
        write = {".html": self.html, ".md": self.markdown}.get(path.suffix.lower())
        if write is None:
            raise ConfigurationError(f"--output {path}: a report is .html or .md.")
        try:
            path.write_text(write(), encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"--output {path} cannot be written: {error.strerror or error}."
            ) from error


def _text(text: str) -> str:
    return escape(printable(text))


def _html_table(content: tuple[list[str], list[list[str]]]) -> str:
    header, rows = content
    right = [
        bool(rows) and all(not row[i] or NUMBER.fullmatch(row[i]) for row in rows) for i in range(len(header))
    ]

    def line(cells: list[str], tag: str) -> str:
        marks = [' class="number"' if each else "" for each in right]
        return "".join(f"<{tag}{m}>{_text(c)}</{tag}>" for c, m in zip(cells, marks, strict=True))

    body = "\n".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{line(header, "th")}</tr>\n{body}</table></div>'


_HTML = {
    "heading": lambda text: f"<h2>{_text(text)}</h2>",
    "paragraph": lambda text: f"<p>{_text(text)}</p>",
    "items": lambda texts: "<ul>" + "".join(f"<li>{_text(text)}</li>" for text in texts) + "</ul>",
    "table": _html_table,
    "picture": lambda content: f'<figure role="img" aria-label="{_text(content[1])}">{content[0]}</figure>',
}


def _marked(text: str) -> str:
    return _MARKS.sub(r"\\\1", printable(text, lines=False))


def _markdown_table(content: tuple[list[str], list[list[str]]]) -> str:
    header, rows = content
    lines = [header, ["---"] * len(header), *rows]  # the rule's dashes need no marks
    return "\n".join(
        "| " + " | ".join(c if c == "---" else _marked(c) for c in line) + " |" for line in lines
    )


_MARKDOWN = {
    "heading": lambda text: f"## {_marked(text)}",
    "paragraph": _marked,
    "items": lambda texts: "\n".join(f"- {_marked(text)}" for text in texts),
    "table": _markdown_table,
}


@dataclass(frozen=True)
class Bar:
    """A share with its interval, in a chart."""

    name: str
    share: float
    low: float
    high: float
    series: int


def chart_of_shares(bars: Sequence[Bar], series: Sequence[str]) -> str:
    """Return an SVG of shares, 0 to 1, with their intervals: a line a bar."""
    colours = ("#1b6ca8", "#c8553d", "#5c8d4f", "#7d5ba6")
    left, width, step = 230, 460, 22
    height = step * (len(bars) + 2) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + width + 80} {height}" '
        'font-family="system-ui, sans-serif" font-size="13">'
    ]
    for number, name in enumerate(series):
        x = left + 160 * number
        parts.append(f'<circle cx="{x}" cy="12" r="5" fill="{colours[number]}"/>')
        parts.append(f'<text x="{x + 10}" y="16">{_text(name)[:60]}</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        x = left + width * tick
        parts.append(f'<line x1="{x}" x2="{x}" y1="28" y2="{height - 18}" stroke="#e3e3e3"/>')
        parts.append(f'<text x="{x}" y="{height - 4}" text-anchor="middle" fill="#555">{tick:.0%}</text>')
    for row, bar in enumerate(bars):
        y = 40 + step * row
        colour = colours[bar.series]
        if not row or bars[row - 1].name != bar.name:
            parts.append(f'<text x="{left - 12}" y="{y + 5}" text-anchor="end">{_text(bar.name)[:34]}</text>')
        ends = (left + width * bar.low, left + width * bar.high)
        line = f'<line x1="{ends[0]:.1f}" x2="{ends[1]:.1f}" y1="{y}" y2="{y}"'
        parts.append(f'{line} stroke="{colour}" stroke-width="2"/>')
        parts.append(f'<circle cx="{left + width * bar.share:.1f}" cy="{y}" r="5" fill="{colour}"/>')
    return "\n".join([*parts, "</svg>"])
