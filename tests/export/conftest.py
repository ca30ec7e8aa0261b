"""A small output of random graphs, and one traced with the built-in model."""

from __future__ import annotations

import pyarrow as pa
import pytest

from pipeline import ReplacementModel, Results, attribute, prune
from pipeline.attribution import head_loadings, qk_attribution
from pipeline.graph import stability
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.store.rows.records import TracedPrompt
from pipeline.sweep_model import pin_input
from tests.support.exported import RUN
from tests.support.random_graphs import random_prompt

PROMPTS = ["The capital of the state containing Dallas is", "Lincoln is the capital of"]


def commit(output: Output, prompts: list[TracedPrompt]) -> None:
    rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)
    output.commit(shard_id([prompt.prompt_key for prompt in prompts], -7), rows)


@pytest.fixture(scope="session")
def random_output(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Thirty prompts; every feature index is one of 1,024, so that features repeat over prompts."""
    output = Output(tmp_path_factory.mktemp("random") / "out")
    output.claim(RUN, -7, pa.schema([("family", pa.string())]))
    for first in (0, 15):
        prompts = [
            random_prompt(seed, features=400, extra_columns={"family": f"f{seed % 3}"})
            for seed in range(first, first + 15)
        ]
        commit(output, prompts)
    return output


@pytest.fixture
def results(random_output: Output) -> Results:
    return Results(random_output)


@pytest.fixture(scope="session")
def demo_model() -> ReplacementModel:
    return ReplacementModel.from_pretrained("demo", transcoders="demo", device="cpu")


@pytest.fixture(scope="session")
def demo_output(demo_model: ReplacementModel, tmp_path_factory: pytest.TempPathFactory) -> Output:
    """Two prompts, traced and stored as a sweep would."""
    pinned = {kind: pin_input("demo", kind) for kind in ("model", "transcoders")}
    run = RUN | {kind: {"name": "demo", **pin.fingerprint} for kind, pin in pinned.items()}
    output = Output(tmp_path_factory.mktemp("demo") / "out")
    output.claim(run, -7)
    traced = []
    for number, text in enumerate(PROMPTS):
        graph = attribute(demo_model, text)
        scores = graph.scores()
        pruned = prune(graph)
        loadings = head_loadings(demo_model, graph, pruned)
        traced.append(
            TracedPrompt(
                prompt_key=prompt_key(graph.input_tokens.tolist()),
                id=f"p{number}",
                run_key=-7,
                graph=graph,
                pruned=pruned,
                stability=stability(graph, pruned),
                replacement_score=scores[0],
                completeness_score=scores[1],
                unexpanded_influence=graph.unexpanded_influence(),
                dropped_share=0.0,
                constants_share=graph.constants_share(),
                pruning_seconds=0.0,
                head_loadings=loadings,
                qk=qk_attribution(demo_model, graph, pruned, loadings, 4),
            )
        )
    commit(output, traced)
    return output
