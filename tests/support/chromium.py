"""A real Chromium for the tests of the viewer's page, and its modules without a server."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, sync_playwright

from tests.support.viewers import Served

CHROMIUM = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
PAGE_FILES = Path(__file__).parents[2] / "pipeline" / "viewer" / "page"

SCRIPTS = Path(__file__).parent / "page_scripts"

NOWHERE = "http://viewer.test"
"""Origin of pages that are served from the folder; no such host exists."""

BLANK = """<!doctype html><html lang="en"><title>modules</title>
<script type="importmap">{"imports": {"viewer/": "/page/"}}</script>
<body><div id="host" style="width: 1280px; height: 720px"></div></body></html>"""


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Start Chromium, and end it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Complaints:
    """What a page should never do: write errors to the console, throw, or ask another host."""

    def __init__(self, page: Page, origin: str) -> None:
        self.origin = origin
        self.found: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.found.append(f"thrown: {error}"))
        page.on("request", lambda request: self._request(request.url))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.found.append(f"{message.type}: {message.text}")

    def _request(self, url: str) -> None:
        if not url.startswith((self.origin + "/", "data:", "blob:")):
            self.found.append(f"asked {url}")


def open_modules(page: Page) -> None:
    """Open an empty page that can import the page's modules."""

    def answer(route: Route) -> None:
        path = urlsplit(route.request.url).path
        folder = {"page": PAGE_FILES, "scripts": SCRIPTS}.get(path.split("/")[1])
        if folder is None:
            route.fulfill(body=BLANK, content_type="text/html")
        else:
            file = folder.joinpath(*path.split("/")[2:])
            route.fulfill(body=file.read_bytes(), content_type=mimetypes.guess_type(file.name)[0])

    page.route(f"{NOWHERE}/**", answer)
    page.goto(f"{NOWHERE}/")


DRAWN = """() => !document.querySelector('.busy') && document.querySelector('#main')?.children.length > 0
  && (!document.querySelector('.canvas') || Boolean(window.viewerGraph?.density.picture
  && !window.viewerGraph.density.isBusy && !window.viewerGraph.isMoving))"""


PAGES = {path.stem for path in (PAGE_FILES / "pages").glob("*.js")} - {"all"}
"""Names of the pages."""


class Visits:
    """Pages of servers, in one browser context."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.pages: dict[str, Page] = {}

    def __call__(self, server: Served, address: str = "#/") -> Page:
        """Open an address on a server, in the page that was opened on it before."""
        origin = f"http://{server.host}"
        page = self.pages.get(origin)
        if page is None:
            page = self.pages[origin] = self.context.new_page()
            page.complaints = Complaints(page, origin)
            page.goto(server.address)
            page.wait_for_selector(".state-line")
        page.goto(f"{origin}/{address}")
        name = address.removeprefix("#/").partition("?")[0].partition("/")[0] or "overview"
        if name in PAGES:  # what stood there before is no answer
            page.wait_for_selector(f"main.page-{name}")
        self.wait(page)
        return page

    def wait(self, page: Page) -> Page:
        """Wait until the page is drawn. Asked from outside, since its policy allows no evaluation of text."""
        for _ in range(200):
            page.wait_for_timeout(60)
            if page.evaluate(DRAWN):
                return page
        raise AssertionError(f"never drawn: {page.inner_text('body')[:500]}")
