"""Places of two texts: which of their graphs belong together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pipeline.validation.pairs.config import PairTests
from pipeline.validation.pairs.matching import Positions, Row, _matched

END = PairTests(column="twin", align="end")


def rows(text: int, positions: Sequence[int], generated: Sequence[int] | None = None) -> list[Row]:
    """Graphs of one text, keys 100 of the text and the number of traced tokens."""
    return [
        {
            "prompt_key": 100 * text + n,
            "id": f"{text}@{n}",
            "sequence_key": text,
            "positions": n,
            "generated_index": None if generated is None else generated[index],
            "pair": "p",
            "role": None,
        }
        for index, n in enumerate(positions)
    ]


def test_generated_tokens_are_matched_by_their_number() -> None:
    """Also where one text ends sooner."""
    found, refused = _matched([*rows(1, [4, 5, 6], [0, 1, 2]), *rows(2, [7, 8], [0, 1])], END, "generated")
    assert found == {104: 207, 105: 208, 207: 104, 208: 105}
    assert [*refused] == [106]


def test_a_text_with_one_graph_has_a_place() -> None:
    start = END.model_copy(update={"align": "start"})
    found, refused = _matched([*rows(1, [4]), *rows(2, [3, 4])], start, "last-2")
    assert found == {104: 204, 204: 104}
    assert [*refused] == [203]


@pytest.mark.parametrize("positions", [[2, 3], [-2, 1]])
def test_ends_that_no_graph_names_are_refused(positions: Positions) -> None:
    found, refused = _matched([*rows(1, [3, 4]), *rows(2, [3, 4])], END, positions)
    assert not found
    assert "use `--align start`" in refused[103]


@pytest.mark.parametrize("positions", ["last-2", [-2, -1], [-1, 3], [-3, -2]])
def test_other_graphs_are_matched_by_their_distance_from_the_end(positions: Positions) -> None:
    found, _ = _matched([*rows(1, [3, 4]), *rows(2, [6, 7])], END, positions)
    assert found == {103: 206, 104: 207, 206: 103, 207: 104}
