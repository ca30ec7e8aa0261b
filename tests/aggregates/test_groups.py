"""Prompts grouped by columns, expressions and labels that came after the sweep."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.aggregates.groups import Grouping, read_groups
from pipeline.errors import ConfigurationError
from pipeline.store.output import Output


def sizes(output: Output, *given: object) -> dict[str, int]:
    return read_groups(output.snapshot(), Grouping(*given)).sizes


def test_prompts_without_a_value_belong_to_no_group(random_output: Output) -> None:
    groups = read_groups(random_output.snapshot(), Grouping("family"))
    assert groups.sizes == {"a": 6, "b": 6, "c": 5}
    assert groups.left_out == 5
    assert sizes(random_output) == {"all": 22}


def test_clusters_are_identical_tokens_or_what_is_named(random_output: Output) -> None:
    rows = read_groups(random_output.snapshot(), Grouping()).rows
    assert len(set(rows["cluster"].to_pylist())) == 22
    assert all(rows["first"].to_pylist())
    rows = read_groups(random_output.snapshot(), Grouping(cluster="family", within="family")).rows
    # Without a value, each of five prompts is a cluster of its own.
    assert len(set(rows["cluster"].to_pylist())) == 3 + 5
    assert set(rows["stratum"].to_pylist()) == {"a", "b", "c", ""}


@pytest.mark.parametrize("column", ["famly", "tokens"])
def test_a_column_that_cannot_group(random_output: Output, column: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{column}.*family, created"):
        sizes(random_output, column)


def test_expressions_group_and_choose(random_output: Output) -> None:
    assert sizes(random_output, "family in ('a', 'b')") == {"false": 5, "true": 12}
    assert sizes(random_output, "upper(family) -- a comment") == {"A": 6, "B": 6, "C": 5}
    assert sizes(random_output, "family", "family <> 'a'") == {"b": 6, "c": 5}
    assert sizes(random_output, None, "family is null") == {"all": 5}
    above = sizes(random_output, "prompt_key > median(prompt_key) over ()")
    assert above == {"false": 11, "true": 11}


@pytest.mark.parametrize(
    "text",
    [
        "family; drop table graphs",
        "family, id",
        "1) from graphs where (1 = 1",
        "1) from range(9); select (1",
        "1) union all select (2",
        "family as label",
        "family limit 1",
        "*",
        "columns('.*')",
        "",
        "family =",
        "'unended",
        "family) where (true",
    ],
)
def test_what_is_not_one_expression_is_refused(random_output: Output, text: str) -> None:
    for given in ((text,), (None, text)):
        with pytest.raises(
            ConfigurationError, match=r"SQL expression|cannot be evaluated|more than one value|no condition"
        ):
            sizes(random_output, *given)


@pytest.mark.parametrize(
    "given",
    [
        ("unnest([1, 2])",),
        ("unnest([]::varchar[])",),
        ("generate_subscripts([7, 8], 1)",),
        (None, "unnest([true, true])"),
    ],
)
def test_an_expression_gives_each_prompt_one_value(random_output: Output, given: tuple[str | None]) -> None:
    with pytest.raises(ConfigurationError, match=r"--(by|where) '.*(unnest|subscripts).*exactly one value"):
        sizes(random_output, *given)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("random() < 0.5", "random"),
        ("MAIN.Random() < 0.5", "random"),
        ("uuid()", "uuid"),
        ("now() > '2020-01-01'", "now"),
        ("(select current_date) > date '2020-01-01'", "current_date"),
        ("localtimestamp > timestamp '2020-01-01'", "localtimestamp"),
        ("age(timestamp '2020-01-01') > interval 1 day", "current_date"),
        ("ago(interval 1 day) > timestamp '2020-01-01'", "ago"),
        ("len(list_filter([1, 2], lambda x: x > random())) = 1", "random"),
        ("(select count(*) from graphs using sample 3) = 3", "random"),
    ],
)
def test_an_expression_has_the_same_value_every_time(random_output: Output, text: str, name: str) -> None:
    for given in ((text,), (None, text)):
        with pytest.raises(ConfigurationError, match=f"uses {name},"):
            sizes(random_output, *given)


def test_stable_functions_are_not_taken_for_unstable_ones(random_output: Output) -> None:
    assert sizes(random_output, "age(timestamp '2020-01-02', timestamp '2020-01-01') > interval 1 hour") == {
        "true": 22
    }
    assert sizes(random_output, None, "(select max(x) from unnest([1, 2]) as t(x)) = 2") == {"all": 22}
    assert sum(sizes(random_output, "hash(id) % 2").values()) == 22


def test_an_expression_reads_no_file(random_output: Output, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for source in (f"read_csv('{secret}')", f"'{secret}'", "read_text('http://localhost:1/')", "tmp_path"):
        with pytest.raises(ConfigurationError, match="cannot be evaluated"):
            sizes(random_output, f"(select count(*) from {source})")


def ids(output: Output) -> list[str]:
    return sorted(output.dataset("graphs").to_table()["id"].to_pylist())


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_of_a_csv(random_output: Output, tmp_path: Path, separator: str) -> None:
    file = tmp_path / "labels.csv"
    rows = [
        ("id", "topic", "number"),
        *((id, "xy"[i % 2], str(i)) for i, id in enumerate(ids(random_output))),
    ]
    file.write_text("".join(separator.join(row) + "\n" for row in rows[:-2]))  # two prompts have none
    grouping = Grouping("topic", "number < 10 or number is null", file)
    groups = read_groups(random_output.snapshot(), grouping)
    assert (groups.sizes, groups.left_out) == ({"x": 5, "y": 5}, 2)
    assert sizes(random_output, "family = 'a' and topic = 'x'", None, file)["true"] > 0
    assert grouping.description == "topic of labels.csv where number < 10 or number is null"
    before = grouping.identity
    file.write_text(file.read_text().replace("x", "z"))
    assert Grouping("topic", grouping.where, file).identity != before


def test_labels_of_a_parquet_file(random_output: Output, tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"id": ids(random_output), "topic": ["x"] * 21 + [""]}), file)
    assert sizes(random_output, "topic", None, file) == {"x": 21}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("name,topic\nprompt-0,x\n", "`id`"),
        ("id,topic\nprompt-0,x\nprompt-1,y\nprompt-0,z\n", "1 id .'prompt-0'"),
        ("id,topic\nprompt-0,x\nprompt-77,y\nno,z\n", "2 ids .'prompt-77', 'no'.*of 3"),
        ("id,family\nprompt-0,x\n", "family"),
        ("id,topic,Family\nprompt-0,x,y\n", "Family"),
        (None, "labels.csv"),
    ],
)
def test_labels_that_do_not_fit(random_output: Output, tmp_path: Path, text: str | None, named: str) -> None:
    file = tmp_path / "labels.csv"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigurationError, match=named):
        sizes(random_output, "topic", None, file)


def test_no_prompt_is_left(random_output: Output) -> None:
    with pytest.raises(ConfigurationError, match="--where"):
        sizes(random_output, None, "false")
    with pytest.raises(ConfigurationError, match="--by"):
        sizes(random_output, "null")
