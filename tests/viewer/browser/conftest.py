"""Chromium for the tests in this folder: one browser, a new page for each test."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

CHROMIUM = Path("/usr/bin/chromium")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reason = why_not()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def why_not() -> str:
    if not find_spec("playwright"):
        return "playwright is not installed: pip install -e '.[browser]'"
    return "" if CHROMIUM.exists() else f"there is no {CHROMIUM}: apt-get install chromium"


@pytest.fixture(scope="session")
def browser() -> Iterator:
    from tests.support.chromium import running_chromium

    with running_chromium() as browser:
        yield browser


@pytest.fixture
def context(browser) -> Iterator:
    context = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(20_000)
    yield context
    context.close()


@pytest.fixture
def modules(context):
    """A page that can import the page's modules; `modules.complaints` must stay empty."""
    from tests.support.chromium import NOWHERE, Complaints, open_modules

    page = context.new_page()
    page.complaints = Complaints(page, NOWHERE)
    open_modules(page)
    return page


@pytest.fixture(scope="session")
def random_server(tmp_path_factory) -> Iterator:
    """A server of nine random graphs, of two families and none."""
    from tests.support.outputs import write_output
    from tests.support.viewers import served

    output = write_output(
        tmp_path_factory.mktemp("browser") / "random", range(9), ["a", "b", None], edges=500
    )
    with served(output.url) as server:
        yield server


@pytest.fixture(scope="session")
def hostile_server(tmp_path_factory) -> Iterator:
    """A server of graphs in which every text is hostile."""
    from tests.support.hostile import hostile_output
    from tests.support.viewers import served

    output = hostile_output(tmp_path_factory.mktemp("browser") / "hostile")
    with served(output.url) as server:
        yield server


@pytest.fixture
def visit(context):
    """Open pages of a server: `visit(server, "#/prompts")` waits until the page is drawn."""
    from tests.support.chromium import Visits

    return Visits(context)
