"""The built-in prompts: some of every family, trained and held out, in one Parquet file.

Chosen so that there is something to ask of the tables: each state's capital by way of a held-out city and
of a trained one, all cities of Texas, and open questions, whose graphs have several targets.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from random import Random

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.demo.prompts.example import Example
from pipeline.demo.prompts.fact_families import fact_examples
from pipeline.demo.prompts.word_families import draw

SHOWN_STATE = "Texas"
"""The state whose cities all have a two-hop prompt."""

FACTS = {
    "state_of_city": 30,
    "state_capital": 20,
    "abbreviation": 20,
    "region": 20,
    "country": 30,
    "country_by_city": 50,
    "open_question": 40,
}
"""Prompts of each fact family besides two-hop; where some of a family are held out, half of them are."""

WORDS = {"indirect_object": 40, "induction": 30, "agreement": 30, "sequence": 30}
"""Prompts of each word family, half of them held out."""

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), metadata={"meaning": "family and number"}),
        pa.field("prompt", pa.string(), metadata={"meaning": "text, without <bos>"}),
        pa.field("family", pa.string(), metadata={"meaning": "rule that leads to the answer"}),
        pa.field("answer", pa.string(), metadata={"meaning": "right next word"}),
        pa.field("other_answers", pa.string(), metadata={"meaning": "further right words, with spaces"}),
        pa.field("subject", pa.string(), metadata={"meaning": "state or country that is asked about"}),
        pa.field("held_out", pa.bool_(), metadata={"meaning": "never seen in training"}),
    ]
)


def demo_prompts(seed: int) -> list[Example]:
    """Choose the built-in prompts."""
    random, facts = Random(f"prompts {seed}"), fact_examples()
    chosen = _two_hop([x for x in facts if x.family == "two_hop"])
    for family, count in FACTS.items():
        for side in _sides([x for x in facts if x.family == family], count):
            chosen += random.sample(*side)
    for family, count in WORDS.items():
        for held_out in (False, True):
            chosen += _distinct(family, held_out, count // 2, random)
    return chosen


def prompt_table(examples: Iterable[Example]) -> pa.Table:
    """Lay prompts out as the columns of the Parquet file."""
    numbers: Counter[str] = Counter()
    rows = []
    for example in examples:
        numbers[example.family] += 1
        rows.append(
            {
                "id": f"{example.family}-{numbers[example.family]:03d}",
                "prompt": example.text,
                "family": example.family,
                "answer": example.answer,
                "other_answers": " ".join(example.answers[1:]),
                "subject": example.subject,
                "held_out": example.held_out,
            }
        )
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_prompts(examples: Iterable[Example], path: Path) -> None:
    """Write the Parquet file."""
    pq.write_table(prompt_table(examples), path, compression="zstd")


def read_prompts(path: Path) -> list[Example]:
    """Read the prompts back from their Parquet file."""
    return [
        Example(
            row["prompt"],
            row["family"],
            (row["answer"], *row["other_answers"].split()),
            row["subject"],
            row["held_out"],
        )
        for row in pq.read_table(path).to_pylist()
    ]


def _two_hop(examples: Sequence[Example]) -> list[Example]:
    """Take all held-out cities, one trained city a state, and all cities of the shown state."""
    direct = [example for example in examples if example.text.startswith("The capital of the state")]
    trained_first = {example.subject: example for example in reversed(direct) if not example.held_out}
    return [
        example
        for example in direct
        if example.held_out or example.subject == SHOWN_STATE or example is trained_first[example.subject]
    ]


def _sides(examples: Sequence[Example], count: int) -> list[tuple[list[Example], int]]:
    held_out = [example for example in examples if example.held_out]
    trained = [example for example in examples if not example.held_out]
    half = count // 2 if held_out else 0
    return [(trained, count - half), (held_out, half)]


def _distinct(family: str, held_out: bool, count: int, random: Random) -> list[Example]:
    found: dict[str, Example] = {}
    while len(found) < count:
        example = draw(family, random, held_out)
        found[example.text] = example
    return list(found.values())
