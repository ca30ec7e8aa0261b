"""Two engines in turns: this project's real process, and refusals of an interpreter without the other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline import ReplacementModel, attribute
from pipeline.benchmark import Settings
from pipeline.benchmark.peers import side_by_side
from pipeline.benchmark.peers.processes import OURS, Tracer, both, write_job
from pipeline.benchmark.peers.short_prompts import SHORTEST, demo_prompts, sweep_seconds
from pipeline.builtin import MODEL, TRANSCODERS
from pipeline.errors import ConfigurationError


@pytest.fixture(scope="module")
def tracer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracer]:
    found = Tracer(OURS, sys.executable, write_job("demo", tmp_path_factory.mktemp("peers") / "demo"))
    yield found
    found.end()


def test_a_process_traces_what_the_engine_does(tracer: Tracer) -> None:
    tokens = demo_prompts(1)[0]
    answer = tracer.trace(tokens, None)
    graph = attribute(ReplacementModel.from_pretrained(MODEL, transcoders=TRANSCODERS), tokens)
    assert answer["active"] == len(graph.active_features)
    assert answer["n_rows"] == len(graph.expanded) + len(graph.targets)
    assert answer["edges"] == pytest.approx(float(graph.dense().abs().sum()), rel=1e-5)
    assert all(answer[phase] > 0 for phase in side_by_side.PHASES)
    assert tracer.trace(tokens, 20)["n_rows"] == 20 + len(graph.targets)


def test_pairs_become_ratios_within_each_pair(tracer: Tracer) -> None:
    case = side_by_side.Case("demo", 10)
    found = side_by_side.pairs(case, (tracer, tracer), 2)
    assert len(found) == 2
    lines = {line[0].strip(): line[1:] for line in side_by_side.case_rows(case, found)}
    assert lines["edges"][2] == "differ by 0e+00"
    # Twice as slow in each phase is twice as slow in all, whatever the phases' shares.
    slower = [(ours, {name: 2 * value for name, value in ours.items()}) for ours, _ in found]
    lines = {line[0].strip(): line[1:] for line in side_by_side.case_rows(case, slower)}
    assert {lines[name][2] for name in (*side_by_side.PHASES, "graph", "all")} == {"2.0x, 2.0 to 2.0"}


def test_prompts_of_the_demo_are_different_and_open_with_bos() -> None:
    prompts = demo_prompts(1000)
    assert len({tuple(ids) for ids in prompts}) == 1000
    assert {ids[0] for ids in prompts} == {1}
    assert min(map(len, prompts)) >= SHORTEST


def test_an_interpreter_without_circuit_tracer_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(
            ConfigurationError, match=r"No module named 'circuit_tracer'.*pip install circuit-tracer"
        ),
        both("demo", tmp_path, sys.executable),
    ):
        pass
    with pytest.raises(ConfigurationError, match=r"--peer is nowhere/python, which cannot be run"):
        side_by_side.report(Settings(peer="nowhere/python"))


def test_a_sweep_over_prompts_is_timed(tmp_path: Path) -> None:
    write_job("demo", tmp_path / "demo")
    assert sweep_seconds("demo", tmp_path, "few", demo_prompts(3)) > 0
    assert (tmp_path / "few" / "graphs").exists()
