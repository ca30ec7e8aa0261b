"""Pairs of a whole sweep on a real Ray: who is paired, who is refused by name, what stands beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from jobs.pairs import main
from pipeline.errors import ConfigurationError, QueryError
from pipeline.results import Results
from pipeline.runtime import RunReport, WorkersConfig
from pipeline.runtime.shards.counts import Counts
from pipeline.runtime.telemetry import Progress
from pipeline.store.verify.checks import verify
from pipeline.sweep.config import SweepConfig
from pipeline.sweep.run import run_sweep
from pipeline.validation.pairs.config import PairTests
from pipeline.validation.pairs.matching import PairedPrompts, resolved
from pipeline.validation.pairs.report import pair_report
from pipeline.validation.pairs.run import PairOutput, patch_pairs
from tests.support.sweeps import Make, quiet

QUICK = PairTests(features=4, paths=4)
ONE = WorkersConfig(replicas=1)
PAIRS = {"pairs": {"column": "twin", "role": "side"}, "attribution": {"targets": {"column": "answer"}}}


def prompt(name: str, text: str, answer: str, twin: str | None, side: str = "clean") -> dict[str, Any]:
    return {"id": name, "prompt": text, "answer": answer, "twin": twin, "side": side}


GOOD = [
    row
    for i in range(4)
    for row in (
        prompt(f"a{i}", f"w{i} w9 w{i + 5}", "w5", f"p{i}"),
        prompt(f"b{i}", f"w{i + 7} w9 w{i + 5}", "w6", f"p{i}", "corrupt"),
    )
]
BAD = [
    prompt("alone", "w1 w2 w3", "w5", "single"),
    prompt("t1", "w1 w2 w4", "w5", "three"),
    prompt("t2", "w1 w2 w5", "w5", "three", "corrupt"),
    prompt("t3", "w1 w2 w6", "w5", "three", "corrupt"),
    prompt("s1", "w2 w2 w4", "w5", "same side"),
    prompt("s2", "w2 w2 w5", "w6", "same side"),
    prompt("short", "w3 w3", "w5", "lengths"),
    prompt("long", "w3 w3 w3", "w6", "lengths", "corrupt"),
    prompt("e1", "w4 w3 w3", "w5", "equal answers"),
    prompt("e2", "w4 w3 w4", "w5", "equal answers", "corrupt"),
    prompt("none", "w5 w3 w4", "w5", None),
]
REASONS = {
    "alone": "pair 'single' of column 'twin' has 1 text (alone), but must have two",
    "t1": "pair 'three' of column 'twin' has 3 texts",
    "s1": "have the roles 'clean' and 'clean' in column 'side'",
    "short": "it has 3 positions and its partner 4",
    "long": "`--align end` counts them from the end",
    "e2": "name each prompt's own in attribution.targets.column",
}


def patch(config: SweepConfig, address: str | None, tests: PairTests = QUICK) -> RunReport:
    return patch_pairs(config.output, tests, Progress(Console(quiet=True)), ONE, address)


@pytest.fixture
def swept(make_config: Make, address: str) -> Callable[..., SweepConfig]:
    def sweep(data: list[dict[str, Any]], **changes: Any) -> SweepConfig:
        config = make_config(data, **(PAIRS | changes))
        assert run_sweep(config, quiet(), address).counts.failed == 0
        return config

    return sweep


def test_pairs_are_patched_once_and_stand_beside_the_sweep(
    swept: Callable[..., SweepConfig], address: str, capsys: pytest.CaptureFixture
) -> None:
    config = swept([*GOOD, *BAD])
    with pytest.raises(
        QueryError, match=r"pair_effects is not there yet: it is made by `circuit-sweep pairs"
    ):
        Results(config.output).sql("select * from pair_effects")
    report = patch(config, address)
    assert (report.counts.done, report.counts.failed) == (8, 10)
    again = patch(config, "ray://nowhere:1")  # no cluster is asked for
    assert again.counts == Counts(read=18, already_done=8, already_failed=10)
    assert verify(f"{config.output}/pairs").problems == []

    results = Results(config.output)
    rows = results.sql("select * from pairs join graphs using (prompt_key, id) order by id").to_arrow_table()
    assert rows["id"].to_pylist() == [f"{side}{i}" for side in "ab" for i in range(4)]
    for row in rows.to_pylist():
        assert (row["pair"], row["role"]) == (row["twin"], row["side"])
        assert row["partner_id"] == ("b" if row["id"][0] == "a" else "a") + row["id"][1]
        assert row["stake"] == pytest.approx(row["value"] - row["partner_value"])
        assert row["answer"] != row["rival"]
    (counted,) = results.sql("select count(*), count(distinct prompt_key) from pair_effects").fetchall()
    assert counted[0] > 8
    assert counted[1] == 8
    failures = dict(results.sql("select id, message from pairs_failures").fetchall())
    assert len(failures) == 10
    for name, reason in REASONS.items():
        assert reason in failures[name]

    found = pair_report(PairOutput(config.output))
    assert [group.group for group in found.groups] == ["clean", "corrupt", "all"]
    assert [group.prompts for group in found.groups] == [4, 4, 8]
    assert main([config.output, "--report"]) == 0
    printed = capsys.readouterr().out
    assert "patterns held" in printed
    assert max(len(line.rstrip()) for line in printed.splitlines()) <= 80
    assert main([config.output, "--report", "--format", "csv"]) == 0
    assert "circuit_value" in capsys.readouterr().out


def test_lengths_that_differ_are_aligned_from_the_end(
    swept: Callable[..., SweepConfig], address: str
) -> None:
    config = swept(BAD[6:8])
    report = patch(config, address, QUICK.model_copy(update={"align": "end"}))
    assert (report.counts.done, report.counts.failed) == (2, 0)


def test_positions_of_two_texts_are_paired_place_by_place(
    swept: Callable[..., SweepConfig], address: str
) -> None:
    config = swept(GOOD[:2], attribution={"targets": {"column": "answer"}, "positions": "last-2"})
    assert patch(config, address).counts.done == 4
    found = Results(config.output).sql("select id, partner_id from pairs order by id").fetchall()
    assert found == [("a0@2", "b0@2"), ("a0@3", "b0@3"), ("b0@2", "a0@2"), ("b0@3", "a0@3")]


def test_columns_that_are_not_there_are_refused(swept: Callable[..., SweepConfig]) -> None:
    config = swept(GOOD[:2])
    source = PairOutput(config.output).sweep
    assert resolved(source, PairTests()).column == "twin"
    assert len(list(PairedPrompts(source, resolved(source, PairTests())))) == 2
    for option in ("column", "role"):
        with pytest.raises(
            ConfigurationError, match=f"--{option} is 'nothing', which is no column of `graphs`"
        ):
            resolved(source, PairTests(**{option: "nothing"}))
    with pytest.raises(ConfigurationError, match="has no pairs yet: run"):
        pair_report(PairOutput(config.output))


def test_a_sweep_without_the_columns_does_not_start(make_config: Make, tmp_path: Path) -> None:
    config = make_config([{"id": "a", "prompt": "w1 w2"}], pairs={"column": "twin"})
    with pytest.raises(ConfigurationError, match="has no column 'twin'"):
        run_sweep(config, quiet())
    with pytest.raises(ValueError, match="names a role, but no column"):
        make_config([{"id": "a", "prompt": "w1 w2"}], pairs={"role": "side"})
