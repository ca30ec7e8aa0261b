"""Pictures of graphs without a browser: of a stored one, of one just traced, of hostile text."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from jobs.show import main as show
from pipeline.errors import ConfigurationError
from pipeline.graph import picture_of
from pipeline.results import Results, read_graph
from tests.support.hostile import IDS, hostile_output

SVG = "{http://www.w3.org/2000/svg}"


def parts(svg: str, name: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(svg).iter(SVG + name))


def test_a_stored_graph_draws_each_edge_and_feature(random_output):
    graph = read_graph(Results(random_output.url), "prompt-3")
    svg = graph._repr_html_()
    features = [row for row in graph.nodes.to_pylist() if row["kind"] == "feature"]
    lines = [line for line in parts(svg, "line") if line.get("class") in ("for", "against")]
    assert len(lines) == len(graph.edges.source) + 2, "and two of the legend"
    texts = {text.text for text in parts(svg, "text")}
    assert {f"{row['layer']}/{row['feature']}" for row in features} <= texts


def test_hostile_text_is_text(tmp_path):
    output = hostile_output(tmp_path / "hostile")
    for name in IDS:
        svg = read_graph(Results(output.url), name).picture().svg()
        names = {element.tag.removeprefix(SVG) for element in ElementTree.fromstring(svg).iter()}
        assert names <= {"svg", "title", "style", "rect", "line", "text", "circle"}
        assert not set(svg) & {"\x00", "\u202e", "\u200b"}


def test_a_traced_graph_shows_itself_in_a_notebook():
    from pipeline import ReplacementModel, attribute

    model = ReplacementModel.from_pretrained("demo", transcoders="demo")
    graph = attribute(model, "The capital of the state containing Dallas is")
    svg = graph._repr_html_()
    assert svg == picture_of(graph).svg()
    assert any("Austin" in (text.text or "") for text in parts(svg, "text"))


def test_show_writes_a_picture_and_refuses_what_is_none(random_output, tmp_path, capsys):
    path = tmp_path / "graph.svg"
    assert show([random_output.url, "--prompt", "prompt-3", "--picture", str(path)]) == 0
    assert parts(path.read_text(), "circle")
    assert capsys.readouterr().out.strip() == str(path)
    for wrong in ("graph.png", str(tmp_path / "none" / "graph.svg")):
        with pytest.raises(ConfigurationError, match=r"--picture"):
            show([random_output.url, "--prompt", "prompt-3", "--picture", wrong])
