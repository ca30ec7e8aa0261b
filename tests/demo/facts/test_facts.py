"""The fact files say one thing in one place."""

from collections import Counter

import pytest

from pipeline.demo.facts.reader import read_countries, read_states, read_word_lists
from pipeline.demo.prompts.word_families import family_words

STATES, COUNTRIES = read_states(), read_countries()
PLACES = [name for place in (*STATES, *COUNTRIES) for name in (place.name, place.capital, *place.cities)]


def test_there_are_fifty_states_in_four_regions() -> None:
    assert len(STATES) == 50
    # The Census Bureau's division.
    assert Counter(s.region for s in STATES) == {"South": 16, "West": 13, "Midwest": 12, "Northeast": 9}


def test_abbreviations_are_the_postal_ones() -> None:
    abbreviations = {state.name: state.abbreviation for state in STATES}
    assert len(set(abbreviations.values())) == 50
    assert all(len(value) == 2 and value.isupper() for value in abbreviations.values())
    assert (abbreviations["Maine"], abbreviations["Maryland"], abbreviations["Alaska"]) == ("ME", "MD", "AK")


def test_no_place_stands_twice() -> None:
    assert [name for name, count in Counter(PLACES).items() if count > 1] == []


def test_a_suffix_names_the_state_the_city_is_in() -> None:
    suffixes = {state.abbreviation for state in STATES}
    for state in STATES:
        for city in state.cities:
            suffix = city.rpartition("_")[2]
            assert suffix not in suffixes or suffix == state.abbreviation, city


def test_places_do_not_collide_with_other_words() -> None:
    relations = {x for c in COUNTRIES for x in (c.language, c.currency, c.continent)}
    regions = {x for s in STATES for x in (s.region, s.abbreviation)}
    assert set(PLACES).isdisjoint(relations | regions | set(family_words()))


def test_every_place_has_enough_cities_to_generalise() -> None:
    assert all(len(place.cities) >= 3 for place in (*STATES, *COUNTRIES))


@pytest.mark.parametrize("name", ["names", "places", "objects", "nouns", "prepositions", "things"])
def test_word_lists_have_no_word_twice(name: str) -> None:
    words = read_word_lists()[name]
    assert len(words) == len(set(words)) > 3


def test_induction_words_are_distinct_from_names() -> None:
    lists = read_word_lists()
    assert set(lists["names"]).isdisjoint(lists["things"])
