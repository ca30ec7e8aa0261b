"""The HTML of an exported page, and the scripts beside it.

The page's own modules travel as `data:` addresses in an import map, the answers that it will ask for as they
would be sent, compressed. A content security policy in the file allows these and nothing else; where answers
lie beside it, also scripts of its own folder, which a page from a disk may read while it may fetch no file.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from html import escape

from pipeline.viewer.page_files import PageFile

Carried = Mapping[str, str | int]
"""Answers by their addresses: compressed and as base64, or the number of the script that has one."""


def page(files: Mapping[str, PageFile], carried: Carried) -> bytes:
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
    has_scripts = any(isinstance(answer, int) for answer in carried.values())
    beside, policies = ("'self' file: ", "worker data") if has_scripts else ("", "worker")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {beside}data: {_hash(import_map)} {_hash(start)}",
            f"style-src {_hash(style)}",
            "img-src data: blob:",
            "worker-src blob:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            f"trusted-types {policies}",
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
    <script type="application/json" id="embedded">{_in_script(json.dumps(carried))}</script>
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


def script(carried: Mapping[str, str]) -> bytes:
    """Return a script that gives the page these answers."""
    return f"viewerData({_in_script(json.dumps(carried))});\n".encode()


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _in_script(text: str) -> str:
    """Spell JSON so that no text in it ends the element, or begins another."""
    return text.replace("<", "\\u003c")
