"""The commands as a user runs them: mostly in a process of their own, on a Ray of their own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.compute as pc
import pytest
import yaml

from pipeline.store import Output
from tests.support.commands import ROOT, Command, command
from tests.support.tiny_model import make_model, make_transcoders, sentence


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep file and all that it names; the last prompt cannot be traced."""
    folder = tmp_path_factory.mktemp("commands")
    rows = [{"id": f"q{i}", "prompt": sentence(i), "family": "any"} for i in range(6)]
    rows.append({"id": "unknown", "prompt": "Dallas", "family": "any"})
    rows += [{"id": f"[bold]{i}", "prompt": sentence(i), "family": "any"} for i in range(6)]
    (folder / "prompts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sweep = {
        "model": make_model(folder / "model"),
        "transcoders": make_transcoders(folder / "transcoders"),
        "prompts": {"source": str(folder / "prompts.jsonl"), "columns": ["family"]},
        "output": str(folder / "output"),
        "workers": {"replicas": 1},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    return folder


@pytest.fixture(scope="module")
def finished(folder: Path) -> subprocess.CompletedProcess[str]:
    return command("run", str(folder / "sweep.yaml"))


def test_a_finished_sweep_says_what_it_did(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 1, finished.stderr
    for pattern in (
        r"prompts +13\s",
        r"repeated +6 with the tokens of an earlier one: \[bold\]0, .*, \[bold\]4, \.\.\.\s",
        r"traced +6 in (\d+ min )?\d+ s",
        r"failed +1\s",
        r"edges +[\d,]+ in [\d.]+ kB, [\d.]+ bytes each",
        r"replacement 0\.\d+, completeness 0\.\d+",
        r"model [\d.]+, rows [\d.]+, pruning [\d.]+, writing [\d.]+",
        r"unknown \(tokenize\): PromptError: .*Dallas",
    ):
        assert re.search(pattern, finished.stdout), pattern
    assert "Traceback" not in finished.stderr


def test_the_line_to_try_next_works_as_it_stands(finished: subprocess.CompletedProcess[str]) -> None:
    line = finished.stdout.splitlines()[-1]
    answer = subprocess.run(line, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "source_feature" in answer.stdout


@pytest.mark.slow
def test_a_script_that_is_not_on_the_path_is_named_by_its_path(
    folder: Path, finished: subprocess.CompletedProcess[str], tmp_path: Path
) -> None:
    """As on a fresh machine: installed into a folder that no shell knows, in a place with a space."""
    script = tmp_path / "a venv" / "bin" / "circuit-sweep"
    script.parent.mkdir(parents=True)
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from jobs.cli import main; sys.exit(main())"
    script.write_text(f"#!{sys.executable}\n{code}\n")
    script.chmod(0o755)
    shutil.copytree(folder / "output", tmp_path / "output")
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PATH": "/usr/bin:/bin"}
    options = ["run", str(folder / "sweep.yaml"), "--output", "output"]
    run = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
    again = subprocess.run(["a venv/bin/circuit-sweep", *options], check=False, **run)
    line = again.stdout.splitlines()[-1]
    assert line.startswith("  'a venv/bin/circuit-sweep' query /")
    assert "source_feature" in subprocess.run(line, shell=True, check=True, **run).stdout
    environment["PATH"] = f"{script.parent}:/usr/bin:/bin"
    again = subprocess.run(["circuit-sweep", *options], check=False, **run)
    assert again.stdout.splitlines()[-1].startswith("  circuit-sweep query /")


def test_the_command_line_wins_over_the_file(
    folder: Path, finished: subprocess.CompletedProcess[str], tmp_path: Path, here: Command
) -> None:
    shutil.copytree(folder / "output", tmp_path / "output")
    options = ("--output", str(tmp_path / "output"), "--prompts.limit", "6")
    again = here("run", folder / "sweep.yaml", *options)
    assert again.returncode == 0, again.stderr
    assert re.search(r"done before +6\s", again.stdout)
    refused = here("run", folder / "sweep.yaml", *options, "--pruning.node-threshold", "0.5")
    assert refused.returncode == 2
    assert "pruning.node_threshold: 0.8 -> 0.5" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_graph_is_shown(folder: Path, finished: subprocess.CompletedProcess[str]) -> None:
    shown = command("show", str(folder / "output"), "--prompt", "q3", "--features", "3", "--paths", "2")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"q3: {sentence(3)}\ntargets: '")
    features, paths = shown.stdout.split("strongest paths")
    assert len(re.findall(r"│ +[01]/\d+@\d │ 'w\d+' +│", features)) == 3
    shares = [float(share) for share in re.findall(r"│ [+-](0\.\d+) │ 'w\d+'@\d → ", paths)]
    assert len(shares) == 2
    assert shares == sorted(shares, reverse=True)


def test_the_features_of_a_graph_for_programs(
    folder: Path, finished: subprocess.CompletedProcess[str], tmp_path: Path, here: Command
) -> None:
    file = tmp_path / "features.json"
    options = ("--prompt", "q3", "--features", "3", "--output", file)
    shown = here("show", folder / "output", *options)
    assert (shown.returncode, shown.stdout) == (0, ""), shown.stderr
    rows = json.loads(file.read_text())
    assert [row["name"] for row in rows] == [
        f"{row['layer']}/{row['feature']}@{row['position']}" for row in rows
    ]
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("identifier", "message"),
    [
        ("q33", "no graph in .* has the id 'q33'; there are, for example: q3"),
        ("[bold]3", r"prompt '\[bold\]3' has the tokens of prompt 'q3', which holds the graph of both\."),
        ("unknown", r"'unknown' has no graph, it failed \(tokenize\): .*Dallas"),
    ],
)
def test_a_graph_that_is_not_there(
    folder: Path, finished: subprocess.CompletedProcess[str], here: Command, identifier: str, message: str
) -> None:
    shown = here("show", folder / "output", "--prompt", identifier)
    assert shown.returncode == 2
    assert re.search(message, shown.stderr)
    assert "Traceback" not in shown.stderr


def test_a_plan_of_a_finished_sweep_says_that_nothing_is_left(
    folder: Path, finished: subprocess.CompletedProcess[str], here: Command
) -> None:
    planned = here("plan", folder / "sweep.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "nothing is left" in planned.stdout
    assert "holds every prompt" in planned.stdout


def test_an_output_that_is_none(tmp_path: Path, here: Command) -> None:
    shown = here("show", tmp_path, "--prompt", "q1")
    assert shown.returncode == 2
    assert "holds no sweep" in shown.stderr


def test_a_misspelt_output_is_met_with_its_neighbour(tmp_path: Path, here: Command) -> None:
    Output(tmp_path / "demo").claim({}, 1)
    for words in (("show", "--prompt", "q1"), ("query", "select 1"), ("status",)):
        done = here(words[0], tmp_path / "demmo", *words[1:])
        assert done.returncode == 2
        assert f"Did you mean {tmp_path / 'demo'}?" in done.stderr + done.stdout


@pytest.mark.faults
def test_an_interrupted_sweep_says_how_to_go_on(folder: Path, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": sentence(i)}) for i in range(2000)]
    (tmp_path / "many.jsonl").write_text("\n".join(lines))
    options = ("--prompts.source", str(tmp_path / "many.jsonl"), "--output", str(tmp_path / "output"))
    shell = [
        sys.executable,
        "-m",
        "jobs.cli",
        "run",
        str(folder / "sweep.yaml"),
        *options,
        "--prompts.columns",
    ]
    with subprocess.Popen(shell, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        while not list((tmp_path / "output" / "_commits").glob("*.json")):
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.search(r"interrupted after \d+ graphs, which are kept: run the same command again", errors)
    assert "Traceback" not in errors


def test_help_names_the_keys_and_the_exit_codes(here: Command) -> None:
    shown = here("run", "--help")
    assert shown.returncode == 0
    for part in ("--pruning.node-threshold", "Share of the influence", "Exit codes:", "SWEEP.yaml"):
        assert part in shown.stdout


def test_a_feature_is_shown_where_it_is_active(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    top = command("show", str(folder / "output"), "--prompt", "q0", "--format", "json")
    name = json.loads(top.stdout)[0]["name"].partition("@")[0]
    shown = command("show", str(folder / "output"), "--feature", name, "--by", "family")
    assert re.search(rf"feature {name}: active on \d of 6 prompts", shown.stdout), shown.stderr
    for word in ("promotes:", "suppresses:", "[", "any"):
        assert word in shown.stdout


def test_the_part_of_a_graph_that_pruning_kept_has_the_scores_that_are_stored(
    folder: Path, finished: subprocess.CompletedProcess[str], here: Command
) -> None:
    output, options = folder / "output", ("--prompt", "q3", "--format", "json")
    kept = json.loads(here("show", output, *options, "--features", "1000").stdout)
    shown = here("show", output, *options, "--nodes", *(row["name"] for row in kept))
    (found,) = json.loads(shown.stdout)
    (stored,) = Output(output).dataset("graphs").to_table(filter=pc.field("id") == "q3").to_pylist()
    assert found == {
        "features": len(kept),
        "replacement_score": pytest.approx(stored["pruned_replacement_score"], abs=1e-4),
        "completeness_score": pytest.approx(stored["pruned_completeness_score"], abs=1e-4),
    }
    absent = here("show", output, "--prompt", "q3", "--nodes", "1/9999")
    assert absent.returncode == 2
    assert "--nodes 1/9999: no such feature is active" in absent.stderr


def test_show_asks_for_a_prompt_or_a_feature(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    for arguments in ((), ("--prompt", "q0", "--feature", "2/350")):
        refused = command("show", str(folder / "output"), *arguments)
        assert refused.returncode == 2
        assert "Give --prompt ID, or --feature 2/350" in refused.stderr
