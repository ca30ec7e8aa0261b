"""Fact files about states and countries, word lists, and their reader."""

from pipeline.demo.facts.reader import Country, State, read_countries, read_states, read_word_lists

__all__ = [
    "Country",
    "State",
    "read_countries",
    "read_states",
    "read_word_lists",
]
