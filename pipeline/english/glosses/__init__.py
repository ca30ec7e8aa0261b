"""WordNet's definitions: read from its database, packed into one file, and read back."""

from pipeline.english.glosses.packed import HELD_OUT, is_held_out, pack, read_packed
from pipeline.english.glosses.wordnet import CLASSES, DEBIAN, Definition, read_wordnet

__all__ = [
    "CLASSES",
    "DEBIAN",
    "HELD_OUT",
    "Definition",
    "is_held_out",
    "pack",
    "read_packed",
    "read_wordnet",
]
