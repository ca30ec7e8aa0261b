"""The English model's prompts: beginnings of held-out definitions, and the word that comes next."""

from collections import Counter

import pyarrow.parquet as pq

from pipeline.builtin import ENGLISH_FILES
from pipeline.english.glosses import read_packed
from pipeline.english.prompts import LONGEST, PER_CLASS, english_prompts


def test_what_ships_is_drawn_from_what_is_held_out() -> None:
    glosses = read_packed(ENGLISH_FILES / "glosses.parquet")
    shipped = pq.read_table(ENGLISH_FILES / "prompts.parquet")
    assert shipped.equals(english_prompts(glosses, seed=0))
    held_out = {row["text"]: row["class"] for row in glosses.to_pylist() if row["held_out"]}
    for row in shipped.to_pylist():
        assert held_out[row["definition"]] == row["class"]
        assert row["definition"].startswith(f"{row['prompt']} {row['answer']}")
        assert 4 <= len(row["prompt"].split()) <= LONGEST


def test_classes_have_equal_numbers_and_ids_are_distinct() -> None:
    rows = pq.read_table(ENGLISH_FILES / "prompts.parquet").to_pylist()
    assert set(Counter(row["class"] for row in rows).values()) == {PER_CLASS}
    assert {"noun.plant", "noun.person", "noun.location"} <= {row["class"] for row in rows}
    assert len({row["id"] for row in rows}) == len({row["prompt"] for row in rows}) == len(rows)
