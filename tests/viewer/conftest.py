"""A sweep whose model can be asked, and a server of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def live_url(tiny, tmp_path_factory) -> str:
    from tests.support.live_sweep import live_sweep

    folder = tmp_path_factory.mktemp("live")
    shutil.copytree(tiny, folder / "files")
    return live_sweep(folder / "files", folder)


@pytest.fixture(scope="session")
def live_server(live_url) -> Iterator:
    from tests.support.viewers import served

    with served(live_url, device="cpu") as running:
        yield running
