"""The page on one graph tells how the built-in model copies, with the numbers that it gives."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import ReplacementModel, attribute, prune
from pipeline.attribution import head_loadings, qk_attribution
from pipeline.builtin import PROMPTS
from pipeline.graph import Component, EdgePath, NodeKind, ScorePart
from pipeline.results import Results
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.output import Output
from pipeline.store.rows import graph_tables, join_tables
from pipeline.sweep.attribution_work import traced_prompt
from pipeline.sweep.config import AttributionConfig
from pipeline.sweep.engine import Engine, EngineConfig
from pipeline.sweep.prompts import TokenizedPrompt
from tests.support.pages import ROOT, code_blocks

PAGE = ROOT / "docs/inside-one-graph.md"


@pytest.fixture(scope="module")
def model() -> ReplacementModel:
    return ReplacementModel.from_pretrained("demo", transcoders="demo", device="cpu")


@pytest.fixture(scope="module")
def prompts() -> dict[str, str]:
    rows = pq.read_table(PROMPTS).to_pylist()
    return {row["id"]: row["prompt"] for row in rows if row["family"] == "induction"}


def test_the_page_s_numbers_are_the_model_s(model, prompts) -> None:
    page = PAGE.read_text()
    assert f"`{prompts['induction-011']}`" in page
    graph = attribute(model, prompts["induction-011"])
    pruned = prune(graph)
    loadings = head_loadings(model, graph, pruned)
    strongest = int(pruned.edge_influence.argmax())
    assert int(pruned.kind[pruned.source[strongest]]) == NodeKind.TOKEN
    mine = (loadings.edge == strongest) & (loadings.path == EdgePath.HEAD)
    shares = loadings.loading[mine] / pruned.weight[strongest]
    for index in shares.argsort(descending=True)[:3].tolist():
        layer, head = int(loadings.layer[mine][index]), int(loadings.head[mine][index])
        assert f"{float(shares[index]):.0%} through {layer}.{head}" in " ".join(page.split())
    found = qk_attribution(model, graph, pruned, loadings, 2)
    for index in (found.part == ScorePart.SCORE).nonzero()[:, 0].tolist():
        numbers = (
            f"{found.attention[index]:.2f}",
            f"{found.score[index]:.2f}",
            f"{found.contrast[index]:+.2f}",
        )
        (line,) = [line for line in page.splitlines() if all(number in line for number in numbers)]
        assert line.startswith(f"{int(found.layer[index])}.{int(found.head[index])} ")
        pair = float(found.contrast[index + 1 :][found.part[index + 1 :] == ScorePart.PAIR][0])
        assert f"{pair:+.2f} 'Julia'@9 · 'Julia'@4" in line


def test_the_page_s_question_finds_the_heads(model, prompts, tmp_path) -> None:
    engine = Engine(EngineConfig("demo", "demo", attribution=AttributionConfig(qk=5)), model)
    output = Output(tmp_path / "out")
    output.claim({}, -7, pa.schema([("family", pa.string())]))
    rows = []
    for name in list(prompts)[:2]:
        ids = tuple(model.ensure_tokenized(prompts[name]).tolist())
        prompt = TokenizedPrompt(
            key=prompt_key(ids), id=name, token_ids=ids, extra_columns={"family": "induction"}
        )
        rows.append(graph_tables(traced_prompt(prompt, engine.trace(ids), -7), output.extra_columns))
    output.commit(shard_id([1, 2], -7), join_tables(rows))
    (question,) = [block.code for block in code_blocks("text") if block.code.startswith("with looks")]
    found = Results(output).sql(question).fetchall()
    assert found[0][:3] == (1, 0, 2)
    assert all(lead > 1 and 0.3 < share < 1.5 for *_, prompts, lead, share in found if prompts == 2)


def test_in_other_prompts_too_the_head_looks_there_because_of_the_earlier_occurrence(model, prompts) -> None:
    for name in list(prompts)[::6]:
        graph = attribute(model, prompts[name])
        pruned = prune(graph)
        found = qk_attribution(model, graph, pruned, head_loadings(model, graph, pruned), 5)
        last = graph.n_positions - 1
        tokens = graph.input_tokens.tolist()
        earlier = tokens.index(tokens[last])
        mine = (found.layer == 1) & (found.head == 0) & (found.query == last) & (found.key == earlier + 1)
        (whole,) = found.contrast[mine & (found.part == ScorePart.SCORE)].tolist()
        names = ([Component.TOKEN, -1, last, tokens[last]], [Component.TOKEN, -1, earlier, tokens[last]])
        (pair,) = [
            float(found.contrast[row])
            for row in (mine & (found.part == ScorePart.PAIR)).nonzero()[:, 0].tolist()
            if (found.query_component[row].tolist(), found.key_component[row].tolist()) == names
        ]
        assert pair > 0.5 * whole > 1
