"""Two sweeps side by side: of the same dictionary by index, of different ones through `diff_matches`."""

from __future__ import annotations

import pytest

from pipeline.compare import PairedSweep, compare
from pipeline.compare.comparison import write_tables
from pipeline.errors import ConfigurationError
from pipeline.viewer.options import ViewOptions
from pipeline.viewer.view import open_viewer
from tests.support.other_dictionary import RENAMED, renamed
from tests.support.outputs import RUN, altered, write_output
from tests.support.viewers import served

OTHER_RUN = RUN | {"transcoders": {"name": "t", "content": "2"}}


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two outputs of different dictionaries, and the folder of their match."""
    folder = tmp_path_factory.mktemp("pair")
    a = write_output(folder / "a", range(40), ["a"], features=600, edges=900)
    b = altered(a, folder / "b", renamed, OTHER_RUN)
    write_tables(compare(PairedSweep(a), PairedSweep(b), run_model=False), str(folder / "diff"))
    return a.url, b.url, str(folder / "diff")


def graph(server, of):
    prompt = server.ask("/api/prompts?limit=1").json["rows"][0]["id"]
    answered = server.ask(f"/api/graph/{prompt}?of={of}")
    assert answered.status == 200
    return answered.arrays


def matched(header, arrays):
    """Each feature of a graph with its counterpart."""
    names = ("kind", "layer", "feature", "match_layer", "match_feature")
    rows = list(zip(*(arrays[name].tolist() for name in names), strict=True))
    assert header["matches"]["features"] == sum(kind == 0 for kind, *_ in rows)
    assert all(layer == -1 for kind, *_, layer, _ in rows if kind)
    found = {(layer, f): (at, match) for kind, layer, f, at, match in rows if not kind and at >= 0}
    assert header["matches"]["matched"] == sum(not kind and at >= 0 for kind, *_, at, _ in rows)
    return found


def test_graphs_of_different_dictionaries_are_put_together_by_their_match_in_both_directions(pair):
    a, b, folder = pair
    with served(a, diff=b, matches=folder, model=False) as server:
        here, there = graph(server, "here"), graph(server, "other")
    ours, theirs = matched(*here), matched(*there)
    assert ours == {(layer, f): (layer, RENAMED[f]) for layer, f in ours}
    assert theirs == {other: own for own, other in ours.items()}
    counts = here[0]["matches"]
    assert 0 < counts["matched"] < counts["features"]  # some act too rarely to be matched
    influence = {side[0]["matches"]["matched_influence"] for side in (here, there)}
    assert max(influence) == pytest.approx(min(influence))
    assert 0 < counts["matched_influence"] < counts["influence"]

    with served(b, diff=a, matches=folder, model=False) as server:  # the same folder, read backwards
        assert matched(*graph(server, "here")) == theirs
        assert matched(*graph(server, "other")) == ours


def test_without_a_match_of_these_two_dictionaries_nothing_is_put_together(pair, tmp_path):
    a, b, folder = pair
    with served(a, diff=b, model=False) as server:
        prompt = server.ask("/api/prompts?limit=1").json["rows"][0]["id"]
        refused = server.ask(f"/api/graph/{prompt}?of=other")
        assert refused.status == 400
        assert "different dictionaries" in refused.json["error"]["message"]
        assert f"circuit-sweep diff {a} {b}" in refused.json["error"]["way_out"]
        assert "--matches" in refused.json["error"]["way_out"]
    with pytest.raises(ConfigurationError, match="give the other with --diff"):
        open_viewer(a, ViewOptions(matches=folder))
    with pytest.raises(ConfigurationError, match="not of the two dictionaries"):
        open_viewer(a, ViewOptions(diff=a, matches=folder))
    with pytest.raises(ConfigurationError, match=r"has no diff_matches\.parquet"):
        open_viewer(a, ViewOptions(diff=b, matches=str(tmp_path)))


def test_the_same_dictionary_needs_no_match(tmp_path):
    a = write_output(tmp_path / "a", range(4), ["a"])
    b = write_output(tmp_path / "b", range(4), ["a"])
    with served(a.url, diff=b.url, model=False) as server:
        (header, here), (_, there) = graph(server, "here"), graph(server, "other")
    assert "matches" not in header
    assert here.keys() == there.keys()
    assert all((here[name] == there[name]).all() for name in ("kind", "layer", "feature", "source", "weight"))
