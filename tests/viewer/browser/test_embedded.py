"""The page inside another one: only where `--embed-from` names its origin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.support.outputs import write_output
from tests.support.viewers import served


@contextmanager
def hosting(folder: Path) -> Iterator[str]:
    """A server of the folder's files, of another port of this machine."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_only_the_origin_that_was_named_shows_the_page_in_a_frame(context, tmp_path) -> None:
    output = write_output(tmp_path / "out", range(4), ["a"])
    site = tmp_path / "site"
    site.mkdir()
    with hosting(site) as origin:
        for embed_from, is_shown in ((origin, True), (None, False), ("http://127.0.0.1:1", False)):
            with served(output.url, model=False, embed_from=embed_from) as server:
                frame = f'<iframe width="900" height="700" src="{server.address}#/prompts?embed=1"></iframe>'
                (site / "index.html").write_text(f"<!doctype html><title>host</title>{frame}")
                page = context.new_page()
                page.goto(f"{origin}/index.html")
                inside = page.frame_locator("iframe").locator("#app .rows")
                if is_shown:
                    inside.wait_for()
                    assert "prompt-3" in inside.inner_text()
                else:
                    page.wait_for_timeout(1500)
                    assert inside.count() == 0
                page.close()
