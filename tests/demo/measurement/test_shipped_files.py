"""The files that ship reach what their card says."""

from dataclasses import asdict
from typing import Any

import pytest

from pipeline.builtin import FILES
from pipeline.demo.card import card as write_card
from pipeline.demo.corpus.corpus import evaluation_examples
from pipeline.demo.measurement.evaluate import LayerQuality
from pipeline.demo.measurement.measure import Files, GraphScores, Measurements, measure, trace
from pipeline.demo.measurement.selectivity import StateFeature
from pipeline.demo.prompts.word_families import WORD_FAMILIES
from pipeline.demo.recipe import Recipe


@pytest.fixture(scope="module")
def measured(shipped: Files) -> dict[str, Any]:
    # A fifth of the facts: a city has seven prompts in a row, so a step of five meets all kinds.
    examples = evaluation_examples(seed=0, per_word_family=60)
    words = [example for example in examples if example.family in WORD_FAMILIES]
    facts = [example for example in examples if example.family not in WORD_FAMILIES]
    return asdict(measure(shipped, [*facts[::5], *words]))


def test_a_sample_agrees_with_the_card(measured: dict[str, Any], card: dict[str, Any]) -> None:
    for key in ("accuracy", "accuracy_replaced"):
        assert measured[key].keys() == card[key].keys()
        for family, sides in card[key].items():
            assert measured[key][family] == pytest.approx(sides, abs=0.1)
    for found, stated in zip(measured["layers"], card["layers"], strict=True):
        assert found["l0"] == pytest.approx(stated["l0"], rel=0.1)
        assert found["fvu"] == pytest.approx(stated["fvu"], rel=0.25)


@pytest.mark.slow
def test_every_figure_of_the_card_is_measured_again(shipped: Files, card: dict[str, Any]) -> None:
    found = asdict(measure(shipped, evaluation_examples(seed=0)))
    for key in ("accuracy", "accuracy_replaced"):
        for family, sides in card[key].items():
            # Another processor may round a near tie to the other side.
            assert found[key][family] == pytest.approx(sides, abs=0.01)
    for layer, stated in zip(found["layers"], card["layers"], strict=True):
        assert layer["l0"] == pytest.approx(stated["l0"], rel=0.01)
        assert layer["fvu"] == pytest.approx(stated["fvu"], rel=0.01)
        assert layer["dead"] == pytest.approx(stated["dead"], abs=2)


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
    assert {layer for layer, _ in found} & {1, 2}


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
    recipe = Recipe()
    assert card["recipe"]["model"] == asdict(recipe.model)
    for key in ("features", "k"):
        assert card["recipe"]["transcoders"][key] == getattr(recipe.transcoders, key)
    found = Measurements(
        **{
            **{key: value for key, value in card.items() if key not in ("recipe", "made_by")},
            "layers": [LayerQuality(**x) for x in card["layers"]],
            "graphs": {name: GraphScores(**x) for name, x in card["graphs"].items()},
            "shown_features": [StateFeature(**x) for x in card["shown_features"]],
        }
    )
    assert (FILES / "card.md").read_text() == write_card(found, recipe, card["made_by"])


def test_files_are_small() -> None:
    assert sum(path.stat().st_size for path in FILES.rglob("*") if path.is_file()) < 6_000_000
