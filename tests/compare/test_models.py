"""Two models compared: planted differences are found and named, the same model and noise give none."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.compare import main
from pipeline.compare.models.families import yardstick_of
from pipeline.document import Bar, Document, chart_of_shares
from pipeline.errors import ConfigurationError
from pipeline.paired_differences import cluster_means, difference
from tests.support.outputs import altered, write_output

FAMILIES = ["a", "b", "c"]
"""Every random graph predicts " a": with `--answer family` the first family is right, the others wrong."""


def without_inputs_of_errors(tables):
    """The same graphs without edges that lead to errors or tokens, which no real graph has."""
    edges = tables["edges"]
    kinds = pc.is_in(edges["target_kind"].cast(pa.string()), pa.array(["feature", "logit"]))
    return tables | {"edges": edges.filter(kinds), "head_loadings": tables["head_loadings"].slice(0, 0)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return altered(
        write_output(folder / "all", range(48), FAMILIES, edges=60), folder / "a", without_inputs_of_errors
    )


def compared(a, b, folder, *options):
    """The tables by name, and the page."""
    page = folder / "page.html"
    common = ["--by", "family", "--answer", "family", "--tables", str(folder), "--output", str(page)]
    main([a.url, b.url, *common, *options])
    tables = {p.stem: pq.read_table(p).to_pylist() for p in folder.glob("*.parquet")}
    return tables, page.read_text()


def claims(tables):
    return [(row["prompt_group"], row["measure"]) for row in tables["compare_families"] if row["differs"]]


def moved(tables):
    rows = (row for row in tables["compare_features"] if row["moved"])
    return [(row["prompt_group"], row["layer_a"], row["feature_a"]) for row in rows]


def changed(table, column, where, values):
    place = table.schema.get_field_index(column)
    new = pc.if_else(where, pa.array(values, table.schema.field(place).type), table[column])
    return table.set_column(place, table.schema.field(place), new)


def everywhere(table):
    return pa.array([True] * len(table))


def better_in_b(tables):
    """The model that learned family b: right there, by way of a feature that nothing else uses."""
    graphs, active, nodes = tables["graphs"], tables["activations"], tables["nodes"]
    graphs = changed(graphs, "prediction", pc.equal(graphs["family"], "b"), [" b"] * len(graphs))
    keys = graphs.filter(pc.equal(graphs["family"], "b"))["prompt_key"].to_pylist()
    where = {"layer": 2, "feature": 1000, "position": 3}
    rows = [{"prompt_key": key, "id": "", "position_from_end": -5, "activation": 2.0} | where for key in keys]
    kinds = nodes["kind"].cast(pa.string()).to_pylist()
    first = {}
    for index, (key, kind) in enumerate(zip(nodes["prompt_key"].to_pylist(), kinds, strict=True)):
        if kind == "feature" and key in keys:
            first.setdefault(key, index)
    kept = nodes.take(list(first.values()))
    for name, value in where.items():
        kept = changed(kept, name, everywhere(kept), [value] * len(kept))
    more = pa.Table.from_pylist(rows, active.schema)
    return tables | {
        "graphs": graphs,
        "activations": pa.concat_tables([active, more]),
        "nodes": pa.concat_tables([nodes, kept]),
    }


def test_a_model_against_itself_gives_nothing(plain, tmp_path):
    tables, page = compared(plain, altered(plain, tmp_path / "b", lambda t: t), tmp_path)
    assert not claims(tables)
    assert not moved(tables)
    assert {row["change"] for row in tables["compare_edges"]} <= {"shared"}
    assert all(row["agree"] and row["parted"] == 0 for row in tables["compare_prompts"])
    right = [row for row in tables["compare_families"] if row["measure"] == "correct"]
    assert {row["prompt_group"]: row["value_b"] for row in right} == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert "In no family is B shown to be worse" in page


def test_what_was_learned_is_found_and_nothing_is_claimed_elsewhere(plain, tmp_path):
    tables, page = compared(plain, altered(plain, tmp_path / "b", better_in_b), tmp_path)
    assert claims(tables) == [("b", "correct")]
    assert "b: B answers 100% right, A 0%. B is better" in page
    assert moved(tables) == [("b", 2, 1000)]
    _, page = compared(altered(plain, tmp_path / "c", better_in_b), plain, tmp_path)
    assert "B is worse" in page
    assert "Families in which B is worse" in page


def test_prompts_without_a_family_are_left_out_and_counted(plain, tmp_path):
    b = altered(plain, tmp_path / "b", better_in_b)
    tables, page = compared(plain, b, tmp_path, "--by", "nullif(family, 'c')")
    assert {row["prompt_group"] for row in tables["compare_prompts"]} == {"a", "b"}
    assert claims(tables) == [("b", "correct")]
    assert "16 belong to no family and are left out" in page
    with pytest.raises(ConfigurationError, match="no value for any"):
        compared(plain, b, tmp_path, "--by", "nullif(family, family)")


def test_what_equals_differ_by_does_not_count(plain, tmp_path):
    def shifted(by):
        def alter(tables):
            graphs = tables["graphs"]
            values = graphs["replacement_score"].to_numpy() - by
            return tables | {"graphs": changed(graphs, "replacement_score", everywhere(graphs), values)}

        return alter

    b = altered(plain, tmp_path / "b", shifted(0.1))
    tables, _ = compared(plain, b, tmp_path)
    assert {measure for _, measure in claims(tables)} == {"error_share"}
    equal = altered(plain, tmp_path / "equal", shifted(-0.12))
    tables, page = compared(plain, b, tmp_path, "--repeat", equal.url)
    assert not claims(tables)
    assert "Yardstick" in page


def test_a_few_clusters_say_nothing_and_clusters_count_once():
    random = np.random.default_rng(0)
    claimed = {"by cluster": 0, "by prompt": 0}
    for _ in range(200):
        clusters = np.repeat(np.arange(10), 12)
        values = random.normal(0, 0.3, 10)[clusters] + random.normal(0, 0.01, 120)
        found = difference(cluster_means(values, clusters), 0.0, False)
        naive = difference(cluster_means(values, np.arange(120)), 0.0, False)
        claimed["by cluster"] += found.p_value <= 0.05
        claimed["by prompt"] += naive.p_value <= 0.05
    assert claimed["by cluster"] <= 20
    assert claimed["by prompt"] > 80
    assert difference(np.ones(5), 0.05, True).p_value is None
    assert difference(np.ones(6), 0.05, True).p_value <= 0.05


def test_equal_answers_of_few_clusters_are_no_certainty():
    few, many = (difference(np.zeros(n), 0.05, True) for n in (10, 200))
    assert few.low < -0.1
    assert many.low > -0.05
    assert difference(np.ones(12), 0.05, True).p_value <= 0.01


def test_a_yardstick_is_the_far_end_of_the_interval():
    rows = [{"prompt_group": "a", "measure": "m", "difference": 0.1, "low": -0.3, "high": 0.2}]
    assert yardstick_of([pa.Table.from_pylist(rows)]) == {("a", "m"): 0.3}


def test_a_page_holds_what_it_was_given_as_text():
    page = Document("A <b>")
    page.heading("<script>alert(1)</script>")
    page.table(
        ["a|b"],
        [
            [
                "<img onerror=x>",
            ][:1]
        ],
    )
    page.items(["*not bold*\x1b[2J"])
    page.picture(chart_of_shares([Bar("<x>", 0.5, 0.25, 0.75, 0)], ("A",)), 'shares "of" A')
    html = page.html()
    assert "<script" not in html
    assert "<img" not in html
    assert "http" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "\x1b" not in html
    markdown = page.markdown()
    assert "\\*not bold\\*" in markdown
    assert "a\\|b" in markdown
    assert "<svg" not in markdown


def test_what_cannot_be_compared_is_refused_by_name(plain, tmp_path):
    with pytest.raises(ConfigurationError, match="no such column, and without right answers"):
        main([plain.url, plain.url])
    with pytest.raises(ConfigurationError, match="a report is"):
        main([plain.url, plain.url, "--answer", "family", "--output", str(tmp_path / "a.pdf")])


def test_the_report_on_the_screen(plain, capsys):
    assert main([plain.url, plain.url, "--by", "family", "--answer", "family"]) == 0
    assert "Is B enough?" in capsys.readouterr().out
