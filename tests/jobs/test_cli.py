from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from shlex import quote

import pytest

from jobs.cli import GROUPS, commands, main
from tests.support.commands import ROOT


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


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_list_of_commands_wraps_at_the_terminals_width(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert main(["--help"]) == 0
    entries = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert max(map(len, entries)) < width


def test_every_command_has_its_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted(commands())


@pytest.mark.parametrize("command", sorted(commands()))
def test_help_fits_the_terminal_and_says_each_default_once(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    _usage, _, page = capsys.readouterr().out.partition("\n\n")
    assert max(map(len, page.splitlines())) <= 80
    assert "default: None" not in page
    words = " ".join(line.strip("│ ") for line in page.splitlines())
    for option in re.split(r"(?= --[a-z])| [a-z.]+ options -", words):
        assert option.count("default: ") <= 1, option


def test_a_reader_that_goes_away_ends_the_command_quietly() -> None:
    code = "import sys\nfrom jobs.cli import main\nsys.exit(main(['schema']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


def completed(script: Path, *words: str) -> set[str]:
    """What bash offers for the last word."""
    line = (
        f"source {quote(str(script))}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        '_circuit_sweep; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    done = subprocess.run(["bash", "-uc", line], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_bash_completes_commands_and_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "bash"]) == 0
    script = tmp_path / "completion.bash"
    script.write_text(capsys.readouterr().out)
    assert completed(script, "circuit-sweep", "st") == {"status", "steer"}
    offered = completed(script, "circuit-sweep", "run", "sweep.yaml", "--workers.m")
    assert offered == {"--workers.min-replicas", "--workers.max-replicas"}
    assert completed(script, "circuit-sweep", "verify", "--") >= {"--quick", "--repair", "--help"}
    assert completed(script, "circuit-sweep", "query", "runs") == set()  # files, by the shell itself


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_words(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "train-demo" in script
    assert "workers.max-replicas" in script


ON_WINDOWS = """
import runpy, sys, types
sys.modules |= dict.fromkeys(["fcntl", "grp", "pwd", "resource", "termios"])  # which Windows does not have
import jobs.cli
jobs.cli.sys = types.SimpleNamespace(platform="win32", stdout=sys.stdout, stderr=sys.stderr, argv=sys.argv)
module, *sys.argv[1:] = sys.argv[1:]
sys.exit(jobs.cli.main()) if module == "jobs.cli" else runpy.run_module(module, run_name="__main__")
"""


@pytest.mark.parametrize("words", [["jobs.cli", "run", "demo"], ["jobs.run", "demo"], ["jobs.query", "x"]])
def test_windows_is_told_where_to_go(words: list[str]) -> None:
    """Before anything is needed that Windows does not have."""
    done = subprocess.run(
        [sys.executable, "-c", ON_WINDOWS, *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert "WSL" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.returncode == 2
