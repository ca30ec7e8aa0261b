from __future__ import annotations

from importlib.metadata import PackageNotFoundError

import pytest

from jobs.cli import main


@pytest.mark.parametrize("installed", [True, False])
def test_the_version_is_printed_whether_installed_or_not(
    installed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def version(package: str) -> str:
        if not installed:
            raise PackageNotFoundError(package)
        return "1.2.3"

    monkeypatch.setattr("jobs.cli.version", version)
    assert main(["--version"]) == 0
    said = "1.2.3" if installed else "(run from its sources, not installed)"
    assert capsys.readouterr().out == f"circuit-sweep {said}\n"
