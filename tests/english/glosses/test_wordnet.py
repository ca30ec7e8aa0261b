"""WordNet's database files to definitions with classes, and the file in which they ship."""

from pathlib import Path

import pytest

from pipeline.builtin import ENGLISH_FILES
from pipeline.english.glosses.packed import HELD_OUT, is_held_out, pack, read_packed
from pipeline.english.glosses.wordnet import DEBIAN, Definition, read_wordnet
from pipeline.errors import ConfigurationError

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"

LINES = {
    "noun": "00017222 20 n 03 plant 0 flora 0 plant_life 0 001 @ 00004475 n 0000 | (botany) a living "
    'organism lacking the power of locomotion; "flowers are plants"; "so are trees"  \n'
    "00007846 18 n 01 person 0 001 @ 00004475 n 0000 | a human being  \n",
    "verb": '00001740 29 v 01 breathe 0 001 @ 00005041 v 0000 01 + 02 00 | "only an example"  \n',
    "adj": "00001740 00 a 01 able 0 001 ! 00002098 a 0101 | having the necessary means ; \n",
    "adv": "00001740 02 r 01 a_cappella 0 000 | without musical accompaniment  \n",
}


@pytest.fixture
def database(tmp_path: Path) -> Path:
    for part, lines in LINES.items():
        (tmp_path / f"data.{part}").write_text(LICENCE + lines)
    return tmp_path


def test_definitions_come_with_word_and_class_and_without_examples(database: Path) -> None:
    assert list(read_wordnet(database)) == [
        Definition("(botany) a living organism lacking the power of locomotion", "plant", "noun.plant"),
        Definition("a human being", "person", "noun.person"),
        Definition("having the necessary means", "able", "adj.all"),
        Definition("without musical accompaniment", "a cappella", "adv.all"),
    ]


def test_a_folder_without_the_database_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"data.noun is not there; .* package wordnet-base"):
        list(read_wordnet(tmp_path))


def test_of_equal_texts_one_is_packed_and_its_side_is_its_own(tmp_path: Path) -> None:
    texts = [Definition(f"text {n % 300}", "word", "noun.act") for n in range(400)]
    pack(texts, tmp_path / "packed.parquet")
    packed = read_packed(tmp_path / "packed.parquet")
    assert packed["text"].to_pylist() == [f"text {n}" for n in range(300)]
    assert packed["held_out"].to_pylist() == [is_held_out(f"text {n}") for n in range(300)]
    assert 0 < sum(packed["held_out"].to_pylist()) < 300 * 3 * HELD_OUT


def test_what_ships_is_all_of_wordnet() -> None:
    packed = read_packed(ENGLISH_FILES / "glosses.parquet")
    assert packed.num_rows == len(set(packed["text"].to_pylist())) == 116_697
    assert len(set(packed["class"].to_pylist())) == 45
    held_out = packed["held_out"].to_pylist()
    assert sum(held_out) / len(held_out) == pytest.approx(HELD_OUT, rel=0.05)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package wordnet-base")
def test_what_ships_is_what_the_reader_makes_of_debians_files(tmp_path: Path) -> None:
    pack(read_wordnet(), tmp_path / "glosses.parquet")
    assert read_packed(tmp_path / "glosses.parquet").equals(read_packed(ENGLISH_FILES / "glosses.parquet"))


def test_the_licence_ships_with_the_texts() -> None:
    licence = (ENGLISH_FILES / "LICENSE-WordNet").read_text()
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in licence
    assert "appear on ALL copies" in licence
