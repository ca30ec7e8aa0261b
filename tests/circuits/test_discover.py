"""Circuits of a model whose circuits are known, found and tested on a real Ray."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from rich.console import Console

from jobs.discover import main
from pipeline import ReplacementModel, attribute, prune
from pipeline.aggregates import Grouping
from pipeline.benchmark.planted import Truth, write_planted
from pipeline.benchmark.planted.checkpoint import CAPITALS, CITIES, COLOURS, STATES
from pipeline.circuits import Settings, discover, run_tests
from pipeline.errors import ConfigurationError
from pipeline.graph import stability
from pipeline.results.results import Results
from pipeline.runtime.config import WorkersConfig
from pipeline.runtime.shards import Counts
from pipeline.runtime.telemetry.progress import Progress
from pipeline.store import AggregateResult, Output
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import TracedPrompt
from pipeline.sweep_model import pin_input

OPENINGS = ("", "the ", "and ", "when the ", "is the ", "to the ", "gave the ", "went the ")
SETTINGS = Settings(subject="subject", paraphrases="subject", draws=39)
ONE = WorkersConfig(replicas=1)


def _prompts() -> list[tuple[str, str, str]]:
    """Text, circuit and subject: two-hop questions in several words, and inductions of two colours."""
    rows = [
        (f"{opening}capital of {city} is", STATES[state], city)
        for city, state in CITIES.items()
        for opening in OPENINGS
    ]
    red, blue, *others = COLOURS
    for word in (red, blue):
        rows += [
            (f"{opening}{first} {word} is {first}", word, first)
            for first in others
            for opening in OPENINGS[:4]
        ]
    return rows


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Truth]]:
    folder = tmp_path_factory.mktemp("planted")
    return folder, write_planted(folder)


@pytest.fixture(scope="module")
def swept(truths, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The tables of a sweep over these prompts."""
    names = {"model": str(truths[0]), "transcoders": "neurons"}
    model = ReplacementModel.from_pretrained(names["model"], transcoders="neurons", device="cpu")
    output = Output(str(tmp_path_factory.mktemp("sweep") / "output"))
    described = {kind: {"name": name, **pin_input(name, kind).fingerprint} for kind, name in names.items()}
    columns = pa.schema([("circuit", pa.string()), ("subject", pa.string())])
    output.claim(described | {"dtype": "float32"}, 1, columns)
    traced = [_traced(model, number, *row) for number, row in enumerate(_prompts())]
    rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in traced)
    output.commit(shard_id(rows["graphs"]["prompt_key"].to_pylist(), 1), rows)
    return output.url


def _traced(model: ReplacementModel, number: int, text: str, circuit: str, subject: str) -> TracedPrompt:
    graph = attribute(model, text)
    pruned = prune(graph, 0.95, 0.99)
    scores = ("replacement_score", "completeness_score", "unexpanded_influence", "dropped_share")
    return TracedPrompt(
        prompt_key=prompt_key(graph.input_tokens.tolist()),
        id=f"{circuit}-{number}",
        run_key=1,
        graph=graph,
        pruned=pruned,
        stability=stability(graph, pruned),
        **dict.fromkeys((*scores, "constants_share", "pruning_seconds"), 0.0),
        opened_by=1,
        extra_columns={"circuit": circuit, "subject": subject},
    )


@pytest.fixture(scope="module")
def found(swept: str, address: str) -> AggregateResult:
    return discover(swept, Grouping("circuit"), SETTINGS, address)


@pytest.fixture(scope="module")
def tested(found: AggregateResult, address: str) -> AggregateResult:
    run = run_tests(found, Grouping("circuit"), SETTINGS, Progress(Console(quiet=True)), ONE, address)
    assert (run.failed, run.exit_code) == (0, 0)
    assert run.result is not None
    return run.result


Parts = dict[str, tuple[set, set]]
"""Nodes and edges by group."""


@pytest.fixture(scope="module")
def parts(found: AggregateResult) -> Parts:
    sql = Results(found.url).sql
    nodes: dict[str, set] = {}
    edges: dict[str, set] = {}
    for group, layer, feature in sql(
        "select prompt_group, layer, feature from circuit_nodes join circuits using (circuit) "
        "where kind = 'feature'"
    ).fetchall():
        nodes.setdefault(group, set()).add((layer, feature))
    for group, *ends in sql(
        "select prompt_group, source_layer, source_feature, target_layer, coalesce(target_feature, 0) "
        "from circuit_edges join circuits using (circuit)"
    ).fetchall():
        edges.setdefault(group, set()).add((tuple(ends[:2]), tuple(ends[2:])))
    return {group: (nodes[group], edges[group]) for group in nodes}


@pytest.fixture(scope="module")
def whole(parts: Parts, truths: tuple[Path, dict[str, Truth]]) -> set[str]:
    """Groups whose every part is in the graphs of enough clusters of the discovery half to be found."""
    return {group for group in parts if parts[group] == (truths[1][group].nodes, truths[1][group].edges)}


def test_circuits_are_found_and_nothing_else(parts, whole, truths):
    # Of the clusters of one colour there may be too few in the discovery half.
    assert {*STATES} <= set(parts) <= {*STATES, "red", "blue"}
    for group, (nodes, edges) in parts.items():
        assert nodes <= truths[1][group].nodes
        assert edges <= truths[1][group].edges
    assert len(whole) >= 3
    assert whole & {"red", "blue"}
    assert whole & {*STATES}


def test_they_are_named_by_what_they_are_on_and_what_they_raise(found):
    row = Results(found.url).sql(
        "select role, tokens, promotes, groups from circuit_nodes join circuits using (circuit) "
        "where prompt_group = 'Texas' and layer = 2 and kind = 'feature'"
    )
    assert row.fetchall() == [("last", ["is"], [CAPITALS[0]], ["Texas"])]


def test_every_prompt_of_a_group_uses_its_circuit_and_no_other(found):
    rows = Results(found.url).sql(
        "select c.prompt_group, s.prompt_group, half, count(*), min(overlap) from circuit_support s "
        "join circuits c using (circuit) where is_used group by all"
    )
    used = rows.fetchall()
    assert all(of_circuit == of_prompt for of_circuit, of_prompt, *_ in used)
    counts = {group: sum(row[3] for row in used if row[0] == group) for group in (*STATES, "red")}
    assert counts == {**dict.fromkeys(STATES, 16), "red": 12}


def test_on_the_other_half_they_are_necessary_sufficient_and_specific(found, tested, whole):
    sql = Results(found.url).sql
    shares = sql(
        "select circuit, test, mode, value from circuit_tests where against is null and dose is null"
    )
    for circuit, test, mode, value in shares.fetchall():
        if circuit.removesuffix("#1") in whole and test in ("necessity", "sufficiency", "invariance"):
            assert value == pytest.approx(1.0, abs=0.05), (circuit, test, mode)
        if test == "specificity":
            assert value == pytest.approx(0.0, abs=0.02), circuit
    shown = sql(
        "select circuit, is_shown from circuit_tests where test = 'necessity' and mode = 'default' "
        "and against = 'matched'"
    )
    of_whole = {circuit: is_shown for circuit, is_shown in shown.fetchall() if circuit[:-2] in whole}
    assert of_whole == {f"{group}#1": True for group in whole}


def test_nothing_tested_was_in_the_discovery_half(found, tested):
    (mixed,) = (
        Results(found.url)
        .sql(
            "select count(*) from circuit_effects join circuit_support using (prompt_key) "
            "where half = 'discovery'"
        )
        .fetchall()[0]
    )
    assert mixed == 0
    assert tested.manifest().info.failed_prompts == 0


def test_no_supernode_can_go_and_the_inhibitor_holds_down(tested):
    rows = (
        tested.duckdb()
        .sql(
            "select value, is_shown from circuit_tests where circuit like 'Texas#%' and test = 'minimality' "
            "and mode = 'replacement' order by value"
        )
        .fetchall()
    )
    assert [shown for _, shown in rows] == [True] * len(rows)
    assert rows[0][0] < -0.1  # without the inhibitor the answer gains
    assert rows[1][0] > 0.5


def test_doses_rise(tested):
    rows = (
        tested.duckdb()
        .sql(
            "select value from circuit_tests where circuit like 'Texas#%' and test = 'dose' "
            "order by circuit, dose"
        )
        .fetchall()
    )
    lost = [value for (value,) in rows]
    assert lost[0] == pytest.approx(1)
    assert [round(value, 6) for value in lost] == sorted((round(value, 6) for value in lost), reverse=True)
    assert lost[2] < 0  # more of it, and the answer gains


def test_asked_again_it_needs_no_cluster_and_prints_what_it_found(swept, found, tested, capsys):
    arguments = [
        swept,
        "--by",
        "circuit",
        "--subject",
        "subject",
        "--paraphrases",
        "subject",
        "--draws",
        "39",
    ]
    assert main([*arguments, "--address", "ray://nowhere:1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(r"[3-9] of \d circuits are necessary beyond matched sets", printed)
    assert "Texas#1" in printed
    assert "-> 'Austin'" in printed
    assert main([*arguments, "--address", "ray://nowhere:1", "--of", "tests", "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("circuit,test,mode,against")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--by", "circuit", "--subject", "nothing"], "--subject 'nothing' is no column"),
        (["--by", "circuit", "--paraphrases", "nothing"], "--paraphrases 'nothing' is no column"),
        (["--by", "positions > 0"], "all prompts are in one group"),
        (["--by", "circuit", "--draws", "5"], "--draws is 5"),
        (["--by", "circuit", "--no-tests", "--of", "tests"], "at odds"),
    ],
)
def test_mistakes_are_told(swept, address, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        main([swept, *arguments, "--address", address])


def test_where_groups_are_noise_nothing_is_found(swept, address):
    noise = Grouping("hash(id) % 3 = 0")
    none = discover(swept, noise, SETTINGS, address)
    assert none.dataset("circuits").count_rows() == 0
    assert none.dataset("circuit_support").count_rows() == 0


def test_another_night_says_which_known_circuits_it_uses(swept, found, address, capsys):
    """Of prompts that no circuit was found for, none is explained; of the others all."""
    found.mark_current()
    arguments = [swept, "--by", "circuit in ('red', 'blue')", "--known", swept, "--subject", "subject"]
    assert main([*arguments, "--address", address]) == 0
    printed = capsys.readouterr().out
    assert "false: 64 prompts, 0 that no known circuit explains" in printed
    assert "Texas#1: used by 16" in printed
    assert main([*arguments, "--format", "csv", "--address", "ray://nowhere:1"]) == 0
    assert capsys.readouterr().out.startswith("prompt_group,prompts,explained,circuit")


def test_where_every_prompt_fails_no_test_is_stored(swept, found, address, monkeypatch, capsys):
    def fail(work, prompts, *rest, **options):
        return SimpleNamespace(counts=Counts(failed=len(prompts.roles)))

    monkeypatch.setattr("pipeline.circuits.testing.testing.run_work", fail)
    arguments = [swept, "--by", "circuit", "--subject", "subject", "--draws", "41", "--address", address]
    for _ in range(2):  # the second finds no result of the first
        assert main(arguments) == 1
        told = " ".join(capsys.readouterr().err.split())
        assert "prompts failed: `select id, message from circuits_" in told
        assert "Nothing was tested" in told
