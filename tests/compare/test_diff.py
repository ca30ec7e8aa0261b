"""Planted differences between two outputs are found, each as what it is; noise is not."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from pipeline.compare.comparison import Comparison, compare, write_tables
from pipeline.compare.sweep_pair import PairedSweep, open_pair
from pipeline.errors import ConfigurationError, StoreError
from pipeline.graph.attribution_graph import Target
from pipeline.store.commits.keys import prompt_key, shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from pipeline.sweep.engine import Engine
from pipeline.sweep.inputs import open_inputs
from pipeline.sweep.run import described, engine_config
from tests.support.other_dictionary import RENAMED, renamed, replaced
from tests.support.outputs import RUN, Tables, altered, write_output
from tests.support.random_graphs import random_prompt
from tests.support.tiny_model import WORDS, tiny_config


def compared(a: Output, b: Output, **options) -> Comparison:
    repeats = [PairedSweep(output) for output in options.pop("repeats", [])]
    return compare(PairedSweep(a), PairedSweep(b), repeats=repeats, **options)


def changes(table: pa.Table) -> Counter:
    return Counter(table["change"].to_pylist())


def test_the_same_is_the_same(random_output: Output, tmp_path: Path) -> None:
    found = compared(random_output, altered(random_output, tmp_path / "b", lambda tables: tables))
    assert not found.differs
    assert found.other_targets == 0
    assert found.prompts.num_rows == 22
    for name in ("path_length", "replacement_score", "nodes", "probability"):
        assert found.prompts[f"{name}_a"] == found.prompts[f"{name}_b"]


def test_planted_differences_are_found_and_no_others(random_output: Output, tmp_path: Path) -> None:
    def alter(tables: Tables) -> Tables:
        nodes, edges = tables["nodes"], tables["edges"]
        activation = nodes["activation"].to_numpy().copy()
        activation[2] += 0.5  # the first rows are features of one prompt
        edges = edges.slice(1)  # the first edge is lost
        weight = edges["weight"].to_numpy().copy()
        weight[10] *= -1
        weight[11] *= 1 + 1e-6
        return tables | {
            "nodes": replaced(nodes, "activation", activation),
            "edges": replaced(edges, "weight", weight),
        }

    other = altered(random_output, tmp_path / "b", alter)
    found = compared(random_output, other, by="family")
    assert found.differs
    assert changes(found.tables["diff_features"]) == {"changed": 1}
    assert changes(found.tables["diff_edges"]) == {"lost": 1, "changed": 1}
    assert sum(row[2] + row[3] + row[4] for row in found.by_group()) == 1
    node = random_output.dataset("nodes").head(3).to_pylist()[2]
    assert found.top_features(1)[0][:2] == (node["layer"], node["feature"])
    backwards = compared(other, random_output)
    assert changes(backwards.tables["diff_edges"]) == {"gained": 1, "changed": 1}
    assert sum(backwards.prompts["edges_gained"].to_pylist()) == 1


def test_two_targets_without_a_token_are_told_apart(tmp_path: Path) -> None:
    targets = tuple(
        Target(f"a - {label}", 500 + i, 1.0, kind="difference", difference=(7, 9 + i))
        for i, label in enumerate("bc")
    )
    output = write_output(tmp_path / "a", range(4), ["a"], edges=900, targets=targets)
    assert not compared(output, altered(output, tmp_path / "same", lambda tables: tables)).differs

    def alter(tables: Tables) -> Tables:
        edges = tables["edges"]
        (row, *_) = np.flatnonzero(edges["target_index"].fill_null(-1).to_numpy() == 1)
        weight = edges["weight"].to_numpy().copy()
        weight[row] *= -1
        return tables | {"edges": replaced(edges, "weight", weight)}

    (edge,) = compared(output, altered(output, tmp_path / "b", alter)).tables["diff_edges"].to_pylist()
    assert (edge["change"], edge["target_kind"], edge["target_index"]) == ("changed", "logit", 1)


def test_the_order_of_token_targets_is_no_difference_of_edges(random_output: Output, tmp_path: Path) -> None:
    def swapped(tables: Tables) -> Tables:
        def swap(table: pa.Table) -> pa.Table:
            index = table["target_index"].fill_null(0).to_numpy()
            is_null = table["target_index"].is_null().to_numpy()
            return replaced(table, "target_index", np.ma.array(1 - index, mask=is_null))

        return tables | {name: swap(tables[name]) for name in ("nodes", "edges")}

    found = compared(random_output, altered(random_output, tmp_path / "b", swapped))
    assert found.tables["diff_edges"].num_rows == 0


def test_repeated_runs_set_the_floor(random_output: Output, tmp_path: Path) -> None:
    def noise(seed: int, size: float) -> Callable[[Tables], Tables]:
        def alter(tables: Tables) -> Tables:
            weight = tables["edges"]["weight"].to_numpy()
            moved = weight + size * np.random.default_rng(seed).uniform(-1, 1, len(weight)).astype(np.float32)
            return tables | {"edges": replaced(tables["edges"], "weight", moved)}

        return alter

    repeat, same, other = (
        altered(random_output, tmp_path / str(seed), noise(seed, size))
        for seed, size in ((1, 0.01), (2, 0.005), (3, 0.2))
    )
    assert compared(random_output, same).differs
    assert not compared(random_output, same, repeats=[repeat]).differs
    assert compared(random_output, other, repeats=[repeat]).differs
    assert not compared(random_output, other, floor=0.5).differs


def test_a_low_precision_needs_a_floor(random_output: Output, tmp_path: Path) -> None:
    low = altered(random_output, tmp_path / "b", lambda tables: tables, RUN | {"dtype": "bfloat16"})
    with pytest.raises(ConfigurationError, match="bfloat16 cannot be compared without a noise floor"):
        compared(random_output, low)
    assert not compared(random_output, low, floor=0.01).differs


def test_two_nights_of_one_output(tmp_path: Path) -> None:
    url = tmp_path / "output"
    write_output(url, range(4), ["a"]).publish(-7)
    write_output(url, range(4, 8), ["a"]).publish(-7)
    found = compare(PairedSweep(Output(url), 1), PairedSweep(Output(url), 0))
    assert (found.pair.shared, found.pair.only_a, found.pair.only_b) == (4, 4, 0)
    assert found.differs  # prompts went missing
    assert not compare(PairedSweep(Output(url), 0), PairedSweep(Output(url), 1)).differs


def test_nothing_shared_is_said(random_output: Output, tmp_path: Path) -> None:
    def alter(tables: Tables) -> Tables:
        texts = [f"another {i}" for i in range(tables["graphs"].num_rows)]
        return tables | {"graphs": replaced(tables["graphs"], "text", np.array(texts))}

    other = altered(write_output(tmp_path / "other", range(50, 54), ["a"]), tmp_path / "b", alter)
    with pytest.raises(StoreError, match="share no prompt"):
        compared(random_output, other)


def test_other_targets_of_the_same_tokens_are_compared_feature_by_feature(
    random_output: Output, tmp_path: Path
) -> None:
    def alter(tables: Tables) -> Tables:
        keys = {name: table["prompt_key"].to_numpy() + 1 for name, table in tables.items()}
        tables = {name: replaced(table, "prompt_key", keys[name]) for name, table in tables.items()}
        activation = tables["nodes"]["activation"].to_numpy().copy()
        activation[2] += 0.5
        return tables | {"nodes": replaced(tables["nodes"], "activation", activation)}

    found = compared(random_output, altered(random_output, tmp_path / "b", alter))
    assert (found.pair.aligned, found.pair.shared, found.pair.only_a, found.pair.only_b) == (True, 22, 0, 0)
    assert found.match is None
    assert changes(found.tables["diff_features"]) == {"changed": 1}


def test_of_several_graphs_of_the_same_tokens_those_with_one_key_belong_together(tmp_path: Path) -> None:
    def output(name: str, keys: list[int], weights: list[float]) -> Output:
        output = Output(tmp_path / name)
        output.claim(RUN, -7, pa.schema([]))
        prompts = [
            random_prompt(3, prompt_key=key, id=f"{key}", targets=(Target(" a", 7, weight),))
            for key, weight in zip(keys, weights, strict=True)
        ]
        output.commit(shard_id(keys, -7), join_tables([graph_tables(prompt) for prompt in prompts]))
        return output

    a = output("a", [11, 12, 13], [0.1, 0.2, 0.3])
    b = output("b", [10, 13], [0.4, 0.5])
    prompts = compared(a, b).prompts.to_pylist()
    pairs = {row["id"]: (row["probability_a"], row["probability_b"]) for row in prompts}
    assert pairs == {"11": pytest.approx((0.1, 0.4)), "13": pytest.approx((0.3, 0.5))}
    assert compared(a, b).pair.only_a == 1


@pytest.mark.parametrize("is_list", [False, True])
def test_the_model_s_own_prediction_is_judged_and_not_the_target(tmp_path: Path, is_list: bool) -> None:
    right, wrong, begun, several = "a ", "b", "another", ["b", " a"]
    answers = (
        [[right], [wrong], [begun], several, None, ["A"]] if is_list else [right, wrong, begun, None, "A"]
    )
    expected = [True, False, None, True, None, False] if is_list else [True, False, None, None, False]
    output = Output(tmp_path / "a")
    output.claim(RUN, -7, pa.schema([("answer", pa.list_(pa.string()) if is_list else pa.string())]))
    # The model predicts " a"; what is explained is another token, which is the answer nowhere or by accident.
    prompts = [
        random_prompt(seed, targets=(Target(" b", 9, 1.0),), id=f"{seed}", extra_columns={"answer": answer})
        for seed, answer in enumerate(answers)
    ]
    rows = join_tables([graph_tables(prompt, output.extra_columns) for prompt in prompts])
    output.commit(shard_id([prompt.prompt_key for prompt in prompts], -7), rows)
    found = compared(output, output)
    judged = {row["id"]: row["correct_a"] for row in found.prompts.to_pylist()}
    assert [judged[f"{seed}"] for seed in range(len(answers))] == expected
    assert found.not_judged == (expected.count(None), expected.count(None))


def test_another_dictionary_is_compared_through_the_match(tmp_path: Path) -> None:
    output = write_output(tmp_path / "a", range(40), ["a"], features=600, edges=900)
    run = RUN | {"transcoders": {"name": "t", "content": "2"}}
    other = altered(output, tmp_path / "b", renamed, run)
    found = compared(output, other, run_model=False)
    matched = found.match.rows.filter(found.match.rows["matched"])
    assert matched.num_rows > 1000
    np.testing.assert_array_equal(matched["feature_b"], RENAMED[matched["feature_a"].to_numpy()])
    assert max(found.match.chance.values()) < 0.9 < min(matched["correlation"].to_pylist())
    circuits = found.circuit_means()
    assert circuits["shared"] > 100
    assert circuits["missing"] == circuits["new"] == 0
    assert circuits["unmatched"] == circuits["unmatched_b"]
    assert not found.differs


def test_other_seeds_of_a_recipe_are_the_noise_level_of_a_match(tmp_path: Path) -> None:
    def shuffled(tables: Tables) -> Tables:
        features = np.random.default_rng(1).permutation(tables["activations"]["feature"].to_numpy())
        return tables | {"activations": replaced(tables["activations"], "feature", features)}

    a = write_output(tmp_path / "a", range(40), ["a"], features=600, edges=900)
    b, copy, nothing = (
        altered(a, tmp_path / content, alter, RUN | {"transcoders": {"name": "t", "content": content}})
        for content, alter in (("2", renamed), ("3", renamed), ("4", shuffled))
    )
    found = compared(a, b, repeats=[copy, nothing], run_model=False)
    assert found.seed_shares[0] == found.match.matched_share > 0.99
    assert found.seed_shares[1] < 0.05
    with pytest.raises(ConfigurationError, match="has A's own dictionary"):
        compared(a, b, repeats=[a], run_model=False)
    model = {"model": {"name": "m", "content": "9"}, "transcoders": {"name": "t", "content": "5"}}
    with pytest.raises(ConfigurationError, match="is of another model than A"):
        compared(a, b, repeats=[altered(a, tmp_path / "5", renamed, RUN | model)], run_model=False)


def traced(files: Path, folder: Path, transcoders: str) -> Output:
    """An output of a few prompts, traced with the tiny model and a dictionary."""
    folder.mkdir()
    config = tiny_config(files, [{"prompt": "w1"}], folder, transcoders=transcoders)
    inputs = open_inputs(config)
    engine = Engine(engine_config(config, inputs))
    draw = np.random.default_rng(0)
    prompts = []
    for number in range(6):
        tokens = [1, *draw.integers(4, len(WORDS), 9).tolist()]
        trace = engine.trace(tokens)
        prompts.append(
            random_prompt(
                number,
                prompt_key=prompt_key(tokens),
                graph=trace.graph,
                pruned=trace.pruned,
                stability=trace.stability,
            )
        )
    output = Output(folder / "output")
    output.claim(described(config, inputs), inputs.run_key, pa.schema([]))
    rows = join_tables([graph_tables(prompt) for prompt in prompts])
    output.commit(shard_id([prompt.prompt_key for prompt in prompts], inputs.run_key), rows)
    return output


def test_neurons_are_compared_by_what_the_model_says_that_they_write(tiny: Path, tmp_path: Path) -> None:
    learned = traced(tiny, tmp_path / "learned", str(tiny / "transcoders"))
    few, every = (traced(tiny, tmp_path / name, name) for name in ("neurons:16", "neurons"))
    match = compared(few, every).match
    assert match.random_share is not None
    np.testing.assert_allclose(match.rows["decoder_cosine"].to_numpy(), 1, rtol=1e-5)  # each finds itself
    model = load_file(tiny / "model" / "model.safetensors")
    for row in compared(learned, every).match.rows.to_pylist():
        dictionary = load_file(tiny / "transcoders" / f"layer_{row['layer_a']}.safetensors")
        one = dictionary["W_dec"][row["feature_a"]]
        other = model[f"model.layers.{row['layer_b']}.mlp.down_proj.weight"][:, row["feature_b"]]
        cosine = np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other)
        assert row["decoder_cosine"] == pytest.approx(cosine, abs=1e-5)


def test_where_decoders_cannot_be_loaded_the_match_stands_without_them(
    model_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dictionary = model_folder / "transcoders"
    learned = traced(model_folder, tmp_path / "learned", str(dictionary))
    neurons = traced(model_folder, tmp_path / "neurons", "neurons:16")
    whole = compared(learned, neurons).match
    assert whole.rows["decoder_cosine"].null_count == 0
    (dictionary / "layer_0.safetensors").write_bytes(b"other")
    with caplog.at_level(logging.WARNING, "pipeline"):
        found = compared(learned, neurons).match
    assert found.rows["decoder_cosine"].null_count == found.rows.num_rows
    assert found.rows.num_rows == whole.rows.num_rows > 0
    assert found.matched == whole.matched
    assert found.random_share == whole.random_share is not None
    assert str(dictionary) in caplog.text


def test_tables_are_written_with_their_meaning(random_output: Output, tmp_path: Path) -> None:
    other = altered(random_output, tmp_path / "b", lambda t: t | {"edges": t["edges"].slice(1)})
    write_tables(compared(random_output, other), str(tmp_path / "diff"))
    written = {path.stem: pq.read_table(path) for path in (tmp_path / "diff").iterdir()}
    assert written["diff_edges"].num_rows == 1
    assert (
        written["diff_prompts"].schema.field("id").metadata[b"meaning"]
        == b"The user's name for the prompt, as in A"
    )
    assert set(written) == {"diff_prompts", "diff_features", "diff_edges"}


def test_of_another_tokeniser_only_whole_texts_are_paired(tmp_path: Path) -> None:
    def positions(key_of: Callable[[int], int], token: int) -> Callable[[Tables], Tables]:
        def alter(tables: Tables) -> Tables:
            graphs = tables["graphs"]
            n = len(graphs)
            new = {
                "text": ["one text"] * n,
                "sequence_key": [7] * n,
                "token_ids": [[token] * (index + 1) for index in range(n)],
                "positions": [index + 1 for index in range(n)],
            }
            for name, values in new.items():
                graphs = graphs.set_column(
                    graphs.schema.get_field_index(name),
                    graphs.schema.field(name),
                    pa.array(values, graphs.schema.field(name).type),
                )
            keys = dict(zip(graphs["prompt_key"].to_pylist(), map(key_of, range(n)), strict=True))
            return {
                name: table.set_column(
                    table.schema.get_field_index("prompt_key"),
                    table.schema.field("prompt_key"),
                    pa.array([keys[key] for key in table["prompt_key"].to_pylist()], pa.int64()),
                )
                for name, table in (tables | {"graphs": graphs}).items()
            }

        return alter

    plain = write_output(tmp_path / "plain", range(4), ["a"], edges=60)
    a = altered(plain, tmp_path / "a", positions(lambda index: 100 + index, 1))
    b = altered(plain, tmp_path / "b", positions(lambda index: 200 - index, 2))
    pair = open_pair(PairedSweep(a), PairedSweep(b))
    assert not pair.aligned
    assert pair.sql("select a_key, b_key from prompts").to_pylist() == [{"a_key": 103, "b_key": 197}]


@pytest.mark.parametrize("content", ["1", "2"])  # the same dictionary, and another
def test_extra_columns_may_have_the_names_that_a_comparison_uses(tmp_path: Path, content: str) -> None:
    names = ["prompt", "prompt_group", "a_key", "labels", "target"]
    outputs = []
    for side, dictionary in (("a", "1"), ("b", content)):
        output = Output(tmp_path / side)
        run = RUN | {"transcoders": {"name": "t", "content": dictionary}}
        output.claim(run, -7, pa.schema([(name, pa.string()) for name in names]))
        prompts = [random_prompt(seed, extra_columns=dict.fromkeys(names, "x")) for seed in range(4)]
        rows = join_tables([graph_tables(prompt, output.extra_columns) for prompt in prompts])
        output.commit(shard_id([prompt.prompt_key for prompt in prompts], -7), rows)
        outputs.append(output)
    found = compared(*outputs, by="prompt_group", answer="target", run_model=False)
    assert found.prompts["prompt_group"].to_pylist() == ["x"] * 4
    assert found.prompts["correct_a"].to_pylist() == [False] * 4
