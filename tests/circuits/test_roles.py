from __future__ import annotations

import pytest

from pipeline.circuits.roles import ROLES, PromptTokens, roles_of


def _names(prompt: PromptTokens) -> list[str]:
    return [ROLES[number] for number in roles_of(prompt)]


def test_every_position_has_the_first_role_that_fits():
    words = ["<bos>", "When", " Ann", " and", " Bob", " went", ",", " Ann", " saw", ",", " Ann"]
    ids = [{word: n for n, word in enumerate(dict.fromkeys(words))}[word] for word in words]
    roles = _names(PromptTokens(words, ids, has_opening=True, subject="Bob"))
    assert roles[0] == "opening"
    assert roles[-1] == "last"
    assert [i for i, role in enumerate(roles) if role == "earlier"] == [2, 7]
    assert [i for i, role in enumerate(roles) if role == "after_earlier"] == [3, 8]
    assert roles[4] == "subject"
    assert [i for i, role in enumerate(roles) if role == "repeated"] == [6, 9]
    assert [i for i, role in enumerate(roles) if role == "other"] == [1, 5]


@pytest.mark.parametrize(
    ("tokens", "subject", "found"),
    [
        ([" The", " capital", " of", " New", " York", " is"], "New York", [3, 4]),
        (["capital", "of", "New", "York", "is"], "New York", [2, 3]),
        (["The", " Tex", "as", " capital"], "Texas", [1, 2]),
        (["The", " capital"], "Texas", []),
        (["The", " cat", " sat", " at", " home"], "at", [3]),
        (["The", " c", "at", " is", " Ann", "'s"], "Ann", [4]),
        (["A", " new", " yorker", " in", " New", " ", " York", " is"], "New York", [4, 6]),
        (["the", "cat", "is"], "at", [1]),
        (["The", " capital"], "", []),
        (["The", " capital"], None, []),
    ],
)
def test_the_subject_is_found_however_it_is_cut(tokens, subject, found):
    roles = _names(PromptTokens(tokens, list(range(len(tokens))), subject=subject))
    assert [i for i, role in enumerate(roles) if role == "subject"] == found


def test_the_opening_token_is_no_part_of_the_subject():
    prompt = PromptTokens(["<Ann>", "Ann", "is"], [0, 1, 2], has_opening=True, subject="Ann")
    assert _names(prompt) == ["opening", "subject", "last"]


def test_a_prompt_of_one_token_is_its_last():
    assert _names(PromptTokens(["a"], [5])) == ["last"]
