"""The example about features of states, by its own queries, on some states and without Ray."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.test import main
from pipeline import ReplacementModel, attribute, prune
from pipeline.builtin import PROMPTS
from pipeline.errors import ConfigurationError, QueryError
from pipeline.graph import stability
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import TracedPrompt
from pipeline.sweep_model import pin_input

EXAMPLE = Path(__file__).parents[3] / "examples/features_of_states.sh"
EXTRA_COLUMNS = ("family", "answer", "subject", "held_out")
STATES = ("Texas", "Ohio", "California", "Florida", "Colorado", "Georgia", "Illinois", "Oregon")


@pytest.fixture(scope="module")
def swept(demo: ReplacementModel, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tables of a sweep over the two-hop prompts of some states."""
    prompts = pq.read_table(PROMPTS, filters=[("family", "==", "two_hop"), ("subject", "in", STATES)])
    url = str(tmp_path_factory.mktemp("states"))
    output = Output(url)
    described = {
        kind: {"name": "demo", **pin_input("demo", kind).fingerprint} for kind in ("model", "transcoders")
    }
    run = described | {"dtype": "float32"}
    output.claim(run, 1, prompts.select(list(EXTRA_COLUMNS)).schema)
    rows = join_tables(graph_tables(_traced(demo, row), output.extra_columns) for row in prompts.to_pylist())
    output.commit(shard_id(rows["graphs"]["prompt_key"].to_pylist(), 1), rows)
    return url


def _traced(model: ReplacementModel, row: dict) -> TracedPrompt:
    graph = attribute(model, row["prompt"])
    return TracedPrompt(
        prompt_key=prompt_key(graph.input_tokens.tolist()),
        id=row["id"],
        run_key=1,
        graph=graph,
        pruned=(pruned := prune(graph)),
        stability=stability(graph, pruned),
        replacement_score=0.0,
        completeness_score=0.0,
        unexpanded_influence=0.0,
        dropped_share=0.0,
        constants_share=0.0,
        pruning_seconds=0.0,
        extra_columns={name: row[name] for name in EXTRA_COLUMNS},
    )


@pytest.fixture(scope="module")
def queries(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """Options of the example's two commands, as its shell gives them to a program of that name."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "circuit-sweep"
    program.write_text(f'#!/bin/sh\nprintf "%s\\0" "$@" >> {folder}/given\nprintf "\\0" >> {folder}/given\n')
    program.chmod(0o755)
    subprocess.run(["sh", EXAMPLE], env=os.environ | {"PATH": f"{folder}:{os.environ['PATH']}"}, check=True)
    commands = (folder / "given").read_text().split("\0\0")
    return [command.split("\0")[2:] for command in commands if command]


def _tested(url: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, dict]:
    assert main([url, *options, "--draws", "39", "--format", "json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    return {row["changed"] if row["dose"] is None else row["dose"]: row for row in rows}


def test_ablating_a_states_features_costs_more_than_matched_sets(swept, queries, capsys):
    found = _tested(swept, queries[0], capsys)
    assert found["chosen"]["effect"] > found["matched"]["effect"] + 0.3
    assert found["chosen"]["effect"] > found["largest"]["effect"] + 0.3
    assert 0.9 <= found["matched"]["size_ratio"] <= 1.05
    assert found[0.0]["effect"] == pytest.approx(found["chosen"]["effect"], abs=1e-4)
    assert found[0.5]["effect"] < found[0.0]["effect"]
    # Removal alone does not show that the answer hangs on them: it mostly stands.
    assert found["chosen"]["flipped"] < 0.4


def test_putting_in_another_states_features_moves_the_answer_to_its_capital(swept, queries, capsys):
    found = _tested(swept, queries[1], capsys)
    assert found["chosen"]["moved"] >= 0.9
    assert found["chosen"]["is_shown"]
    for other in ("matched", "active", "largest", "random"):
        assert found[other]["moved"] < 0.1
        assert found["chosen"]["effect"] > found[other]["effect"]
    assert found["mixed"]["moved"] < found["chosen"]["moved"]
    assert found[0.5]["effect"] < found[2.0]["effect"]


def test_the_report_fits_80_columns_and_names_every_comparison(swept, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    asked = [
        "--features",
        "select 2 as layer, 350 as feature",
        "--prompts",
        "select id, subject as cluster from graphs",
    ]
    assert main([swept, *asked, "--draws", "39"]) == 0
    printed = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80
    assert "…" not in printed
    for word in (
        "chosen",
        "matched",
        "active",
        "largest",
        "random",
        "dose 1.5",
        "more prompts none of the chosen",
    ):
        assert word in printed


REFUSED = {
    "no rows": (["select 1 as layer, 2 as feature where false", "from graphs"], "finds nothing"),
    "no column": (["select 1 as layer", "from graphs"], "but no feature"),
    "no key": (["select 1 as layer, 2 as feature", "select text from graphs"], "neither prompt_key nor id"),
    "nobody": (["select 1 as layer, 2 as feature", "select 'nobody' as id"], "'nobody'"),
    "twice": (["select 1 as layer, 2 as feature", "select id from graphs, range(2)"], "more than once"),
    "elsewhere": (["select 'x' as id, 1 as layer, 2 as feature", "from graphs"], "no row is about a prompt"),
    "no token": (
        ["select 0 as layer, 1 as feature from range(1)", "select id, 'no such word' as answer from graphs"],
        "not one token",
    ),
}


@pytest.mark.parametrize("asked", REFUSED, ids=str)
def test_what_cannot_be_tested_is_refused_by_name(swept, asked):
    (features, prompts), message = REFUSED[asked]
    if asked == "no token":
        features = "select distinct layer, feature from activations"
    with pytest.raises(ConfigurationError, match=message):
        main([swept, "--features", features, "--prompts", prompts])


def test_contradictions_are_refused(swept):
    asked = ["--features", "select 1 as layer, 2 as feature", "--prompts", "select id from graphs"]
    with pytest.raises(ConfigurationError, match="give one of them"):
        main([swept, *asked, "--factor", "0", "--value", "1"])
    with pytest.raises(ConfigurationError, match="changes nothing"):
        main([swept, *asked, "--factor", "1"])
    with pytest.raises(ConfigurationError, match="no value"):
        main([swept, *asked, "--swap-from", "select 1 as layer, 2 as feature"])
    with pytest.raises(ConfigurationError, match="--draws is 5"):
        main([swept, *asked, "--draws", "5"])
    with pytest.raises(QueryError, match="nowhere"):
        main([swept, "--features", "from nowhere", "--prompts", "from graphs"])
    with pytest.raises(ConfigurationError, match="active on any of the prompts"):
        main(
            [swept, "--features", "select 1 as layer, 99999 as feature", "--prompts", "select id from graphs"]
        )
