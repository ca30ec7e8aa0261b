"""The prompts that ship."""

import pyarrow.parquet as pq

from pipeline.builtin import MODEL, PROMPTS, TRANSCODERS, resolve
from pipeline.demo.corpus.language import CONTEXT_LENGTH, build_vocabulary
from pipeline.demo.prompts.builtin_prompts import SCHEMA, demo_prompts, prompt_table, read_prompts


def test_the_file_is_what_seed_zero_gives() -> None:
    table = pq.read_table(PROMPTS)
    assert table.schema.equals(SCHEMA)
    assert table.equals(prompt_table(demo_prompts(seed=0)))


def test_prompts_are_many_distinct_and_within_the_language() -> None:
    table, vocabulary = pq.read_table(PROMPTS).to_pydict(), build_vocabulary()
    assert len(table["id"]) >= 400
    assert len(set(table["id"])) == len(set(table["prompt"])) == len(table["id"])
    for prompt, answer in zip(table["prompt"], table["answer"], strict=True):
        assert len(vocabulary.encode(prompt)) < CONTEXT_LENGTH
        assert answer in vocabulary.ids


def test_every_family_is_there_and_texas_whole() -> None:
    prompts = demo_prompts(seed=0)
    assert {x.family for x in prompts if x.held_out} >= {"two_hop", "country_by_city", "indirect_object"}
    assert sum(x.subject == "Texas" and x.family == "two_hop" for x in prompts) == 8
    assert any(len(x.answers) > 1 for x in prompts)


def test_prompts_read_back_as_written() -> None:
    assert read_prompts(resolve("demo", "prompts")) == demo_prompts(seed=0)


def test_another_seed_gives_other_prompts() -> None:
    assert demo_prompts(seed=1) != demo_prompts(seed=0)


def test_the_word_demo_stands_for_the_files() -> None:
    assert resolve("demo", "model") == MODEL
    assert resolve("demo", "transcoders") == TRANSCODERS
    assert resolve("org/demo", "model") == "org/demo"
