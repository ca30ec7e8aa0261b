"""Commands, run without a process for each."""

from __future__ import annotations

import pytest

from tests.jobs.commands import Command, command_here


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command in this process."""
    return command_here(capsys, monkeypatch)
