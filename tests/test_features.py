"""The one spelling of a feature: what is written is read back, what is not is met with the right way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName, parse_feature

NUMBERS = st.integers(min_value=0, max_value=10**9)


@given(NUMBERS, NUMBERS, st.none() | st.integers(min_value=-(10**9), max_value=10**9))
def test_a_name_is_read_as_it_was_written(layer, feature, position):
    name = FeatureName(layer, feature, position)
    assert parse_feature(str(name)) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("2/350", FeatureName(2, 350)),
        ("2/350@8", FeatureName(2, 350, 8)),
        ("0/7@-1", FeatureName(0, 7, -1)),
    ],
)
def test_spellings(text, name):
    assert parse_feature(text) == name
    assert str(name) == text


@pytest.mark.parametrize(
    "text",
    ["", "2", "2/", "/350", "2/350@", "2/-1", "-1/2", "a/b", " 2/350", "2/350@8@9", "2/3 5", "٢/٣", "2//3"],
)
def test_other_spellings_are_refused_by_value(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_feature(text)
    assert repr(text) in str(caught.value)
    assert "2/350" in str(caught.value)


@pytest.mark.parametrize(("old", "new"), [("1:81", "1/81"), ("1:81@-2", "1/81@-2")])
def test_the_spelling_with_a_colon_is_met_with_the_new_one(old, new):
    with pytest.raises(ConfigurationError) as caught:
        parse_feature(old)
    assert new in str(caught.value)


def test_a_position_may_be_needed_or_mean_nothing():
    assert parse_feature("2/350@8", position="required").position == 8
    assert parse_feature("2/350", position="refused").position is None
    with pytest.raises(ConfigurationError, match="2/350@-1"):
        parse_feature("2/350", position="required")
    with pytest.raises(ConfigurationError, match="2/350@8"):
        parse_feature("2/350@8", position="refused")
