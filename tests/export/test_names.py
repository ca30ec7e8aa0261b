from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.export.names import feature_number, key_name, plain_name, sanitised, scan_name

NAME = re.compile(r"[A-Za-z0-9_.-]+")


@given(st.text(), st.integers(-(2**63), 2**63 - 1))
def test_a_slug_is_a_safe_name_whatever_the_id(id: str, key: int) -> None:
    for name in (key_name(id, key), plain_name(id) or "none", scan_name(id)):
        assert NAME.fullmatch(name)
        assert not name.startswith(".")
        assert len(name) <= 117


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("org/set@main", "org-set-main"),
        ("../../etc/passwd", "etc-passwd"),
        ("é", ""),
        ("a b", "a-b"),
        ("7", "7"),
    ],
)
def test_what_is_not_a_name_is_replaced(name: str, safe: str) -> None:
    assert sanitised(name) == safe


def test_two_ids_that_look_alike_get_two_slugs() -> None:
    assert plain_name("a-b") == "a-b"
    assert plain_name("a b") is None
    assert key_name("a/b", -1) == "a-b-ffffffffffffffff"


@given(st.tuples(st.integers(0, 200), st.integers(0, 2**20)))
def test_a_feature_number_leads_back_to_its_feature(place: tuple[int, int]) -> None:
    number = feature_number(*place)
    diagonal = int(((8 * number + 1) ** 0.5 - 1) / 2)
    diagonal += (diagonal + 1) * (diagonal + 2) // 2 <= number
    diagonal -= diagonal * (diagonal + 1) // 2 > number
    feature = number - diagonal * (diagonal + 1) // 2
    assert (diagonal - feature, feature) == place
