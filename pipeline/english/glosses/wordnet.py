"""Reader of WordNet's database files: every definition with its semantic class.

A line of `data.noun`, `data.verb`, `data.adj` or `data.adv` is one sense: its offset, the number of its
lexicographer file (the semantic class), its words and relations, and after a bar the gloss: a definition,
then examples in quotation marks. Only the definition is kept.

Format: wndb(5WN) and lexnames(5WN) of WordNet 3.0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import ConfigurationError

DEBIAN = Path("/usr/share/wordnet")
"""Folder of the database files in Debian's and Ubuntu's package `wordnet-base`."""

PARTS = ("noun", "verb", "adj", "adv")
"""Parts of speech, one database file each."""

CLASSES = (
    *("adj.all", "adj.pert", "adv.all", "noun.Tops", "noun.act", "noun.animal", "noun.artifact"),
    *("noun.attribute", "noun.body", "noun.cognition", "noun.communication", "noun.event", "noun.feeling"),
    *("noun.food", "noun.group", "noun.location", "noun.motive", "noun.object", "noun.person"),
    *("noun.phenomenon", "noun.plant", "noun.possession", "noun.process", "noun.quantity", "noun.relation"),
    *("noun.shape", "noun.state", "noun.substance", "noun.time", "verb.body", "verb.change"),
    *("verb.cognition", "verb.communication", "verb.competition", "verb.consumption", "verb.contact"),
    *("verb.creation", "verb.emotion", "verb.motion", "verb.perception", "verb.possession", "verb.social"),
    *("verb.stative", "verb.weather", "adj.ppl"),
)
"""Semantic classes by the number of their lexicographer file."""

EXAMPLES = re.compile(r';?\s*"')
"""Where a gloss's examples begin."""


class Definition(NamedTuple):
    """A sense of a word."""

    text: str
    """The definition."""

    word: str
    """First of the words that have this sense, with spaces."""

    semantic_class: str
    """WordNet's name of the class, such as `noun.plant`."""


def read_wordnet(folder: Path = DEBIAN) -> Iterator[Definition]:
    """Read all senses that have a definition, in the order of the files.

    Raises:
        ConfigurationError: the folder lacks a database file.

    """
    for part in PARTS:
        path = folder / f"data.{part}"
        if not path.is_file():
            raise ConfigurationError(
                f"{path} is not there; WordNet's database files are in Debian's package wordnet-base."
            )
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line.startswith("  "):  # lines of the licence begin with two spaces
                yield from _definition(line)


def _definition(line: str) -> Iterator[Definition]:
    sense, _, gloss = line.partition("| ")
    _, class_number, _, _, word, *_ = sense.split()
    text = EXAMPLES.split(gloss.strip(), maxsplit=1)[0].strip(" ;")
    if text:
        yield Definition(text, word.replace("_", " "), CLASSES[int(class_number)])
