"""Pictures of graphs without a browser: of a stored one, of one just traced, of hostile text."""

from __future__ import annotations

import struct
import sys
from functools import partial
from xml.etree import ElementTree

import pytest
from resvg_py import svg_to_bytes

from jobs.show import main as show
from jobs.view import main as view
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
    for wrong in ("graph.pdf", str(tmp_path / "none" / "graph.svg")):
        with pytest.raises(ConfigurationError, match=r"--picture"):
            show([random_output.url, "--prompt", "prompt-3", "--picture", wrong])


def test_a_png_has_twice_the_size_of_the_svg_and_its_text(random_output, tmp_path, capsys, monkeypatch):
    path = tmp_path / "graph.png"
    assert view([random_output.url, "--prompt", "prompt-3", "--picture", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    data, svg = path.read_bytes(), read_graph(Results(random_output.url), "prompt-3").picture().svg()
    assert data.startswith(b"\x89PNG")
    width, height = (float(side) for side in ElementTree.fromstring(svg).get("viewBox").split()[2:])
    assert struct.unpack(">II", data[16:24]) == (2 * width, 2 * height)
    without_text = bytes(svg_to_bytes(svg_string=svg, zoom=2, skip_system_fonts=True))
    assert len(without_text) < len(data)
    with pytest.raises(ConfigurationError, match="one --prompt"):
        view([random_output.url, "--picture", str(path)])
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(ConfigurationError, match=r"circuit-sweep\[png\]"):
        show([random_output.url, "--prompt", "prompt-3", "--picture", str(path)])


def test_without_a_font_a_png_is_refused_and_not_left_without_text(random_output, monkeypatch):
    fontless = partial(svg_to_bytes, skip_system_fonts=True)
    monkeypatch.setattr("resvg_py.svg_to_bytes", fontless)
    with pytest.raises(ConfigurationError, match="no font"):
        read_graph(Results(random_output.url), "prompt-3").picture().png()
