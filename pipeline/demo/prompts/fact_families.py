"""Prompt families that state facts: about states and about countries, directly and by way of a city.

The held-out split: a few cities never appear in a *composed* prompt in training (capital, region or
abbreviation of the state containing the city, relations of the country containing it), though the
model does learn where they are. A right answer on them therefore has to be put together from two facts.
"""

from collections.abc import Iterator, Sequence

from pipeline.demo.facts import Country, State, read_countries, read_states
from pipeline.demo.prompts.example import Example

COUNTRY_RELATIONS = ("capital", "language", "currency", "continent")
"""Facts about a country, each a field of `Country`."""


def fact_examples() -> list[Example]:
    """Return every fixed prompt about states and countries, in the order of the fact files."""
    states, countries = read_states(), read_countries()
    examples: list[Example] = []
    for index, state in enumerate(states):
        examples += _direct(state)
        held_out = held_out_cities(state, index)
        for city in state.cities:
            examples += _by_city(state, city, city in held_out)
    for index, country in enumerate(countries):
        examples += _country_direct(country)
        for place, city in enumerate((country.capital, *country.cities)):
            held_out_place = 1 + index % len(country.cities)
            examples += _country_by_city(country, city, place == held_out_place)
    return examples + list(_open_questions(states, countries))


def held_out_cities(state: State, index: int) -> tuple[str, ...]:
    """Return the cities that composed prompts about the `index`-th state leave out: one, or two.

    Which ones rotates with the index, so that they are neither always the best known nor the least.
    """
    number = len(state.cities)
    wanted = 2 if number >= 7 and index % 2 == 0 else 1
    return tuple(state.cities[(index + 3 * nth) % number] for nth in range(wanted))


def _direct(state: State) -> list[Example]:
    def example(text: str, family: str, answer: str) -> Example:
        return Example(text, family, (answer,), state.name)

    return [
        example(f"The capital of {state.name} is", "state_capital", state.capital),
        example(f"{state.capital} is the capital of", "state_capital", state.name),
        example(f"The state whose capital is {state.capital} is", "state_capital", state.name),
        example(f"The abbreviation of {state.name} is", "abbreviation", state.abbreviation),
        example(f"{state.abbreviation} is the abbreviation of", "abbreviation", state.name),
        example(f"The region of {state.name} is", "region", state.region),
        example(f"{state.name} lies in the region called", "region", state.region),
    ]


def _by_city(state: State, city: str, held_out: bool) -> list[Example]:
    def example(text: str, family: str, answer: str, out: bool = held_out) -> Example:
        return Example(text, family, (answer,), state.name, out)

    return [
        example(f"{city} is in the state of", "state_of_city", state.name, False),
        example(f"The state containing {city} is", "state_of_city", state.name, False),
        example(f"{city} is a city in", "state_of_city", state.name, False),
        example(f"The capital of the state containing {city} is", "two_hop", state.capital),
        example(f"{city} is in the state whose capital is", "two_hop", state.capital),
        example(f"The abbreviation of the state containing {city} is", "abbreviation", state.abbreviation),
        example(f"The region of the state containing {city} is", "region", state.region),
    ]


def _country_direct(country: Country) -> list[Example]:
    def example(text: str, answer: str) -> Example:
        return Example(text, "country", (answer,), country.name)

    relations = [
        example(f"The {relation} of {country.name} is", getattr(country, relation))
        for relation in COUNTRY_RELATIONS
    ]
    return [*relations, example(f"{country.capital} is the capital of", country.name)]


def _country_by_city(country: Country, city: str, held_out: bool) -> list[Example]:
    def example(text: str, answer: str, family: str = "country", out: bool = False) -> Example:
        return Example(text, family, (answer,), country.name, out)

    relations = [relation for relation in COUNTRY_RELATIONS if getattr(country, relation) != city]
    composed = [
        example(
            f"The {relation} of the country containing {city} is",
            getattr(country, relation),
            "country_by_city",
            held_out,
        )
        for relation in relations
    ]
    return [
        example(f"{city} is in the country of", country.name),
        example(f"The country containing {city} is", country.name),
        *composed,
    ]


def _open_questions(states: Sequence[State], countries: Sequence[Country]) -> Iterator[Example]:
    """Ask what has several right answers, so that some graphs have several targets."""
    for state in states:
        cities = (state.capital, *state.cities[:3])
        yield Example(f"One of the cities in {state.name} is", "open_question", cities, state.name)
    for country in countries:
        cities = (country.capital, *country.cities[:3])
        yield Example(f"One of the cities in {country.name} is", "open_question", cities, country.name)
    for relation in ("language", "currency"):
        for value in dict.fromkeys(getattr(country, relation) for country in countries):
            names = tuple(country.name for country in countries if getattr(country, relation) == value)
            yield Example(f"A country whose {relation} is {value} is", "open_question", names)
