"""A sweep's page as one HTML file, which opens from a disk without a server or a network.

The page's own modules travel as `data:` addresses in an import map, the answers that it will ask for as they
would be sent, compressed. A content security policy in the file allows these and nothing else. There is no
SQL and no model in it, and the page says so.
"""

from __future__ import annotations

import gzip
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipeline.errors import ConfigurationError
from pipeline.readable import readable_bytes
from pipeline.viewer.answers import filters, find_prompt, notes, shown
from pipeline.viewer.asked import Asked
from pipeline.viewer.packed import json_bytes
from pipeline.viewer.page_files import PageFile, read_page_files
from pipeline.viewer.questions import Question
from pipeline.viewer.session import Session

MOST_BYTES = 50 << 20
"""Largest file: browsers open larger ones slowly or not at all."""

MOST_PROMPTS = 1000
"""Prompts of the table in the file."""

FEATURES = 200
"""Features that have a page of their own in the file: the most influential of its prompts."""

EDGES = 20_000
"""Strongest edges of each graph."""

URI_SAFE = "!~*'()-_."
"""What JavaScript's encodeURIComponent leaves as it is, besides letters and digits."""


@dataclass(frozen=True)
class ExportedPage:
    """What was written."""

    prompts: int
    features: int
    bytes: int


def export_page(url: str, file: Path, prompts: Sequence[str], where: str | None) -> ExportedPage:
    """Write a page of some prompts to one file.

    Args:
        url: output of a sweep.
        file: what is written.
        prompts: ids of prompts.
        where: SQL over `graphs` that chooses more of them; without either, the first thousand are taken.

    Raises:
        StoreError: there is no sweep.
        RefusedError: there is no such prompt, or `where` is no condition.
        ConfigurationError: the file would be too large, or cannot be written.

    """
    session = Session(url)
    state = session.viewer.states.current
    with state.lent() as results:
        rows = _chosen(Asked(session.viewer, state, results, Question.of(where=where or "")), prompts)
    carried = dict(_answers(session, [row["id"] for row in rows], [row["prompt_key"] for row in rows]))
    html = page(read_page_files(), carried)
    if len(html) > MOST_BYTES:
        raise ConfigurationError(
            f"{file} would have {readable_bytes(len(html))}, more than the {readable_bytes(MOST_BYTES)} that "
            f"browsers open well, for {len(rows):,} prompts: choose fewer with --prompt or --where."
        )
    try:
        file.write_bytes(html)
    except OSError as error:
        raise ConfigurationError(f"--export {file} cannot be written: {error.strerror or error}.") from error
    features = sum(name.startswith("/api/feature/") and "/edges" not in name for name in carried)
    return ExportedPage(len(rows), features, len(html))


def _chosen(asked: Asked, prompts: Sequence[str]) -> list[dict[str, Any]]:
    """Return ids and keys of the prompts that are named, and of those that the condition chooses."""
    named = [find_prompt(asked, name) for name in prompts]
    if prompts and not asked.question.text("where"):
        return named
    conditions = [f"({condition})" for condition in filters(asked)]
    found = asked.rows(
        f"select id, prompt_key from {shown(asked)} shown where {' and '.join(conditions) or 'true'} "
        f"order by id limit {MOST_PROMPTS}"
    )
    if not found and not named:
        raise ConfigurationError("no prompt is chosen by this condition: there is nothing to export.")
    keys = {row["prompt_key"] for row in named}
    return [*named, *(row for row in found if row["prompt_key"] not in keys)]


def _answers(session: Session, ids: Sequence[str], keys: Sequence[int]) -> Iterator[tuple[str, bytes]]:
    """Yield every answer that the page will ask for, by its address."""
    ask = session.ask
    chosen = f"prompt_key in ({', '.join(map(str, keys))})"
    yield "/api/sweep", ask("/api/sweep")
    yield "/api/overview", ask("/api/overview")
    yield "/api/failures", ask("/api/failures")
    yield "/api/features", ask("/api/features")
    yield "/api/notes", json_bytes(notes(session.viewer))
    yield "/api/prompts", ask("/api/prompts", where=chosen, limit=MOST_PROMPTS)
    if len(keys) <= 200:
        yield "/api/circuit", ask("/api/circuit", keys=[str(key) for key in keys])
    for id in ids:
        yield f"/api/graph/{quote(id, URI_SAFE)}", ask("/api/graph/{key:.+}", {"key": id}, edges=EDGES)
        yield f"/api/loadings/{quote(id, URI_SAFE)}", ask("/api/loadings/{key:.+}", {"key": id})
    named = session.rows(
        f"select layer, feature from nodes where kind = 'feature' and {chosen} "
        f"group by all order by sum(influence::double) desc, layer, feature limit {FEATURES}"
    )
    for row in named:
        path = {name: str(row[name]) for name in ("layer", "feature")}
        name = f"/api/feature/{row['layer']}/{row['feature']}"
        yield name, ask("/api/feature/{layer}/{feature}", path)
        for end in ("source", "target"):
            answer = ask("/api/feature/{layer}/{feature}/edges", path, end=end)
            yield f"{name}/edges?end={end}", answer


def page(files: Mapping[str, PageFile], carried: Mapping[str, bytes]) -> bytes:
    """Return the HTML of a page that carries these answers."""
    modules = {
        f"viewer/{name}": f"data:text/javascript;base64,{b64encode(file.data).decode()}"
        for name, file in files.items()
        if name.endswith(".js")
    }
    import_map = json.dumps({"imports": modules})
    start = 'import "viewer/app.js";'
    style = files["style.css"].data.decode()
    worker = files["graph/density-worker.js"].data.decode()
    answers = {name: b64encode(gzip.compress(data, mtime=0)).decode() for name, data in carried.items()}
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src data: {_hash(import_map)} {_hash(start)}",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types worker",
        ]
    )
    return f"""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta http-equiv="Content-Security-Policy" content="{escape(policy)}" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <title>Circuit Sweep</title>
    <link rel="icon" href="data:," />
    <style>{style}</style>
    <script type="application/json" id="embedded">{_in_script(json.dumps(answers))}</script>
    <script type="text/plain" id="density-worker">{worker}</script>
    <script type="importmap">{import_map}</script>
    <script type="module">{start}</script>
  </head>
  <body>
    <div id="app"><p class="starting">Opening the sweep …</p></div>
    <noscript>This page needs JavaScript, all of which is in this file.</noscript>
  </body>
</html>
""".encode()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _in_script(text: str) -> str:
    """Spell JSON so that no text in it ends the element, or begins another."""
    return text.replace("<", "\\u003c")
