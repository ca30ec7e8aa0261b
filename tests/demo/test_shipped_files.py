"""The files that ship reach what their card says."""

from dataclasses import asdict
from typing import Any

import pytest

from pipeline.demo import FILES
from pipeline.demo.card import card as write_card
from pipeline.demo.evaluate import LayerQuality
from pipeline.demo.measure import Files, GraphScores, Measurements, measure, trace
from pipeline.demo.selectivity import StateFeature
from pipeline.demo.word_families import WORD_FAMILIES


@pytest.fixture(scope="module")
def measured(shipped: Files) -> dict[str, Any]:
    return asdict(measure(shipped, seed=0))


def test_accuracy_is_that_of_the_card(measured: dict[str, Any], card: dict[str, Any]) -> None:
    for key in ("accuracy", "accuracy_replaced"):
        assert measured[key].keys() == card[key].keys()
        for family, sides in card[key].items():
            # Another machine may round a near tie to the other side.
            assert measured[key][family] == pytest.approx(sides, abs=0.02)


def test_dictionaries_are_those_of_the_card(measured: dict[str, Any], card: dict[str, Any]) -> None:
    for found, stated in zip(measured["layers"], card["layers"], strict=True):
        assert found["l0"] == pytest.approx(stated["l0"], abs=0.05)
        assert found["fvu"] == pytest.approx(stated["fvu"], abs=0.002)
        assert found["dead"] == pytest.approx(stated["dead"], abs=5)


def test_facts_are_known(measured: dict[str, Any]) -> None:
    facts = {k: v for k, v in measured["accuracy"].items() if k not in WORD_FAMILIES}
    assert all(sides["trained"] >= 0.99 for sides in facts.values())
    assert facts["two_hop"]["held_out"] >= 0.97


def test_dictionaries_can_stand_in_for_the_mlps(measured: dict[str, Any]) -> None:
    facts = {k: v for k, v in measured["accuracy_replaced"].items() if k not in WORD_FAMILIES}
    assert all(sides["trained"] >= 0.95 for sides in facts.values())
    assert all(layer["l0"] <= 12 and layer["fvu"] <= 0.1 for layer in measured["layers"])


def test_texas_has_features_of_its_own(measured: dict[str, Any], card: dict[str, Any]) -> None:
    found = {(x["layer"], x["feature"]) for x in measured["shown_features"]}
    assert found & {(x["layer"], x["feature"]) for x in card["shown_features"]}
    assert any(layer in (1, 2) for layer, _ in found)


def test_graph_scores_of_the_card_reach_the_goal(card: dict[str, Any]) -> None:
    scores = card["graphs"]["all"]
    assert scores["prompts"] >= 400
    assert scores["completeness"] >= 0.88
    assert scores["replacement"] >= 0.7


def test_the_engine_gives_the_graphs_of_the_card(shipped: Files, card: dict[str, Any]) -> None:
    prompts = [x for x in shipped.prompts if x.family == "open_question"][:8]
    scores = trace(FILES, prompts)["open_question"]
    assert scores.targets > 1
    assert scores.completeness == pytest.approx(card["graphs"]["open_question"]["completeness"], abs=0.1)


def test_the_page_shows_the_figures(card: dict[str, Any]) -> None:
    found = Measurements(
        **{
            **card,
            "layers": [LayerQuality(**x) for x in card["layers"]],
            "graphs": {name: GraphScores(**x) for name, x in card["graphs"].items()},
            "shown_features": [StateFeature(**x) for x in card["shown_features"]],
        }
    )
    assert (FILES / "card.md").read_text() == write_card(found, seed=0)


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES.rglob("*") if path.is_file()) < 6_000_000
