"""Readers of the fact files: states of the USA and countries, each with its cities, and word lists.

The files are the data's only source; their heads state the format and what was left out.
"""

from dataclasses import dataclass
from pathlib import Path

FACTS = Path(__file__).parent
"""Folder of the fact files."""


@dataclass(frozen=True)
class State:
    """One state of the USA."""

    name: str
    """Its name as one word."""

    capital: str

    abbreviation: str
    """Its postal abbreviation."""

    region: str
    """The Census Bureau's region: Northeast, Midwest, South or West."""

    cities: tuple[str, ...]
    """Its other cities, the best known first."""


@dataclass(frozen=True)
class Country:
    """One country."""

    name: str
    """Its name as one word."""

    capital: str

    language: str
    """The official language most used in public life."""

    currency: str
    """The common name of its currency."""

    continent: str
    """The continent it lies on."""

    cities: tuple[str, ...]
    """Its other cities."""


def read_states() -> tuple[State, ...]:
    """Read the fifty states."""
    return tuple(
        State(name, capital, abbreviation, region, tuple(cities.split()))
        for name, capital, abbreviation, region, cities in _rows("states.txt")
    )


def read_countries() -> tuple[Country, ...]:
    """Read the countries."""
    return tuple(
        Country(name, capital, language, currency, continent, tuple(cities.split()))
        for name, capital, language, currency, continent, cities in _rows("countries.txt")
    )


def read_word_lists() -> dict[str, tuple[str, ...]]:
    """Read the word lists of the generated prompts."""
    return {name: tuple(words.split()) for name, words in _rows("words.txt")}


def _rows(name: str) -> list[list[str]]:
    lines = (FACTS / name).read_text(encoding="utf-8").splitlines()
    return [line.split("|") for line in lines if line and not line.startswith("#")]
