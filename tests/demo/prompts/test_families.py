"""Prompts of all families fit the language, and the split never leaks."""

from collections import defaultdict
from random import Random

import pytest

from pipeline.demo.corpus.corpus import Corpus
from pipeline.demo.corpus.language import CONTEXT_LENGTH, build_vocabulary
from pipeline.demo.facts.reader import read_states
from pipeline.demo.prompts.fact_families import fact_examples
from pipeline.demo.prompts.word_families import WORD_FAMILIES, draw

FACTS = fact_examples()


def test_every_fact_is_asked_once() -> None:
    texts = [example.text for example in FACTS]
    assert len(texts) == len(set(texts)) > 4900


def test_all_words_are_known_and_prompts_fit() -> None:
    vocabulary, random = build_vocabulary(), Random(1)
    drawn = [generate(random) for generate in WORD_FAMILIES.values() for _ in range(300)]
    for example in [*FACTS, *drawn]:
        assert len(vocabulary.encode(f"{example.text} {example.answer}")) <= CONTEXT_LENGTH


def test_held_out_cities_appear_in_no_trained_composed_prompt() -> None:
    composed = {"two_hop", "abbreviation", "region"}
    cities = {city for state in read_states() for city in state.cities}
    held_out, trained = set(), set()
    for example in FACTS:
        if example.family in composed:
            named = cities.intersection(example.text.split())
            (held_out if example.held_out else trained).update(named)
    assert len(held_out) == 70
    assert held_out.isdisjoint(trained)


def test_every_held_out_city_is_placed_in_training() -> None:
    placed = {x.text for x in FACTS if x.family == "state_of_city" and not x.held_out}
    for example in FACTS:
        if example.family == "two_hop" and example.text.startswith("The capital of the state containing"):
            assert f"The state containing {example.text.split()[6]} is" in placed


def test_each_country_keeps_one_city_back() -> None:
    kept_back = defaultdict(set)
    for example in FACTS:
        if example.family == "country_by_city" and example.held_out:
            kept_back[example.subject].add(example.text.split()[-2])
    assert len(kept_back) == 70
    assert all(len(cities) == 1 for cities in kept_back.values())


@pytest.mark.parametrize("family", WORD_FAMILIES)
def test_a_word_prompt_is_on_one_side_only(family: str) -> None:
    random, sides = Random(2), defaultdict(set)
    for _ in range(3000):
        example = WORD_FAMILIES[family](random)
        sides[example.text].add(example.held_out)
    assert all(len(side) == 1 for side in sides.values())
    assert {True, False} == set.union(*sides.values())


@pytest.mark.parametrize("held_out", [False, True])
@pytest.mark.parametrize("family", WORD_FAMILIES)
def test_draw_keeps_to_the_side_that_was_asked_for(family: str, held_out: bool) -> None:
    random = Random(3)
    assert {draw(family, random, held_out).held_out for _ in range(50)} == {held_out}


def test_training_draws_no_held_out_prompt_and_every_fact_equally_often() -> None:
    corpus = Corpus(seed=0)
    trained = [example for example in FACTS if not example.held_out]
    drawn, seen = [], 0
    while seen < len(trained):
        facts, words = corpus.training_examples(256)
        seen += len(facts)
        drawn += [*facts, *words]
    assert not any(example.held_out for example in drawn)
    assert {example.text for example in trained} <= {example.text for example in drawn}


@pytest.mark.parametrize(
    ("family", "text", "answer"),
    [
        ("two_hop", "The capital of the state containing Dallas is", "Austin"),
        ("state_capital", "The capital of Vermont is", "Montpelier"),
        ("country_by_city", "The currency of the country containing Osaka is", "yen"),
        ("abbreviation", "The abbreviation of the state containing Nome is", "AK"),
    ],
)
def test_facts_are_right(family: str, text: str, answer: str) -> None:
    assert [x.answer for x in FACTS if x.family == family and x.text == text] == [answer]
