"""What an exported page carries, and where it is written: one file, or a folder where that is too large.

Large answers then lie in scripts beside the page, of a few megabytes each, which it loads as it needs them.
There is no SQL and no model in it, and the page says so.
"""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

from pipeline.errors import ConfigurationError
from pipeline.readable import readable_bytes
from pipeline.viewer.answers import filters, find_prompt, notes, shown
from pipeline.viewer.asked import Asked
from pipeline.viewer.export.html import page, script
from pipeline.viewer.packed import json_bytes
from pipeline.viewer.page_files import PageFile, read_page_files
from pipeline.viewer.questions import Question, RefusedError
from pipeline.viewer.session import Session

MOST_BYTES = 50 << 20
"""Largest file: browsers open larger ones slowly or not at all."""

SCRIPT_BYTES = 4 << 20
"""Size from which a script beside the page is full."""

MOST_PROMPTS = 1000
"""Prompts of the table in the file."""

MOST_CIRCUIT, MOST_FAMILIES = 200, 50
"""Prompts whose graphs are put together to a circuit, and families whose circuits are carried."""

FEATURES = 200
"""Features that have a page of their own in the file: the most influential of its prompts."""

EDGES = 20_000
"""Strongest edges of each graph."""

URI_SAFE = "!~*'()-_."
"""What JavaScript's encodeURIComponent leaves as it is, besides letters and digits."""

ALWAYS = ("/api/sweep", "/api/overview", "/api/failures", "/api/notes", "/api/prompts", "/api/features")
"""Answers that every visit needs, which stay in the page itself."""


@dataclass(frozen=True)
class ExportedPage:
    """What was written."""

    path: Path
    """The file, or the folder, with `index.html` in it."""

    prompts: int
    features: int
    bytes: int


def export_page(url: str, file: Path, prompts: Sequence[str], where: str | None) -> ExportedPage:
    """Write a page of some prompts to one file, or, if it is large, to a folder of its name without ending.

    Args:
        url: output of a sweep.
        file: what is written.
        prompts: ids of prompts.
        where: SQL over `graphs` that chooses more of them; without either, the first thousand are taken.

    Raises:
        StoreError: there is no sweep.
        RefusedError: there is no such prompt, or `where` is no condition.
        ConfigurationError: the file cannot be written, or the folder holds something already.

    """
    session = Session(url)
    state = session.viewer.states.current
    with state.lent() as results:
        rows = _chosen(Asked(session.viewer, state, results, Question.of(where=where or "")), prompts)
    answers = _answers(session, [row["id"] for row in rows], [row["prompt_key"] for row in rows])
    carried = {name: b64encode(gzip.compress(data, mtime=0)).decode() for name, data in answers}
    features = sum(name.startswith("/api/feature/") and "/edges" not in name for name in carried)
    files = read_page_files()
    html = page(files, carried)
    try:
        if len(html) <= MOST_BYTES:
            file.write_bytes(html)
            return ExportedPage(file, len(rows), features, len(html))
        return ExportedPage(file.with_suffix(""), len(rows), features, _write_folder(file, files, carried))
    except OSError as error:
        raise ConfigurationError(f"--export {file} cannot be written: {error.strerror or error}.") from error


def _write_folder(file: Path, files: Mapping[str, PageFile], carried: Mapping[str, str]) -> int:
    """Write the page and its scripts; return their size."""
    folder = file.with_suffix("")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigurationError(
            f"the page has more than {readable_bytes(MOST_BYTES)}, so it becomes a folder, and {folder} is "
            "there already: give another name to --export, or choose fewer prompts with --prompt or --where."
        )
    scripts: list[dict[str, str]] = []
    places: dict[str, str | int] = {}
    for name, text in carried.items():
        if name in ALWAYS:
            places[name] = text
            continue
        if not scripts or sum(map(len, scripts[-1].values())) > SCRIPT_BYTES:
            scripts.append({})
        scripts[-1][name] = text
        places[name] = len(scripts) - 1
    data = folder / "data"
    data.mkdir(parents=True)
    sizes = [(data / f"{n}.js").write_bytes(script(answers)) for n, answers in enumerate(scripts)]
    return sum(sizes) + (folder / "index.html").write_bytes(page(files, places))


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
    yield "/api/notes", json_bytes(notes(session.viewer))
    yield "/api/prompts", ask("/api/prompts", where=chosen, limit=MOST_PROMPTS)
    yield "/export/features", json_bytes(_kept_features(session, chosen))
    yield from _circuits(session, keys, chosen)
    for id in ids:
        yield f"/api/graph/{quote(id, URI_SAFE)}", ask("/api/graph/{key:.+}", {"key": id}, edges=EDGES)
        yield f"/api/loadings/{quote(id, URI_SAFE)}", ask("/api/loadings/{key:.+}", {"key": id})
    named = session.rows(
        f"select layer, feature from nodes where kind = 'feature' and {chosen} "
        f"group by all order by sum(influence::double) desc, layer, feature limit {FEATURES}"
    )
    names = [f"{row['layer']}/{row['feature']}" for row in named]
    yield "/api/features", ask("/api/features", among=names or ["none"])
    for row in named:
        path = {name: str(row[name]) for name in ("layer", "feature")}
        name = f"/api/feature/{row['layer']}/{row['feature']}"
        yield name, ask("/api/feature/{layer}/{feature}", path)
        for end in ("source", "target"):
            answer = ask("/api/feature/{layer}/{feature}/edges", path, end=end)
            yield f"{name}/edges?end={end}", answer


def _kept_features(session: Session, chosen: str) -> dict[str, list[str]]:
    """Return the features that each prompt's graph keeps, by the prompt's key."""
    rows = session.rows(
        "select prompt_key::varchar as key, list(concat(layer, '/', feature, '@', position)) as names "
        f"from nodes where kind = 'feature' and {chosen} group by prompt_key order by prompt_key"
    )
    return {row["key"]: row["names"] for row in rows}


def _circuits(session: Session, keys: Sequence[int], chosen: str) -> Iterator[tuple[str, bytes]]:
    """Yield the circuit of all the prompts, and those of their families that the server would give."""
    if len(keys) <= MOST_CIRCUIT:
        yield "/api/circuit", session.ask("/api/circuit", keys=[str(key) for key in keys])
    if "family" not in session.columns:
        return
    for row in session.rows(
        f"select distinct family::varchar as family from graphs where {chosen} and family is not null "
        f"order by 1 limit {MOST_FAMILIES}"
    ):
        with suppress(RefusedError):  # too many prompts, and nothing has counted them
            answer = session.ask("/api/circuit", label=row["family"])
            yield f"/api/circuit?label={quote_plus(row['family'], '*').replace('~', '%7E')}", answer
