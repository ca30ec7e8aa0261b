"""An audit finds the bias that was trained into a model, and none where there is none."""

from __future__ import annotations

import pytest

from jobs.audit import main
from pipeline import ReplacementModel
from pipeline.audit import read_pack, run_audit, shipped_packs
from pipeline.audit.prompts import FilledTemplate, read_prompts
from pipeline.audit.swaps import run_pair, swapped
from pipeline.errors import ConfigurationError
from tests.support.biased_model import TEMPLATES, train, write_pack


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return {kind: train(folder / kind, kind) for kind in ("biased", "fair", "whims")}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    return write_pack(tmp_path_factory.mktemp("pack") / "balls.yaml")


def audited(model, pack):
    return run_audit(read_pack(pack), ReplacementModel.from_pretrained(model, transcoders="neurons"))


def test_a_trained_bias_is_found_with_the_features_that_carry_it(models, pack):
    found = audited(models["biased"], pack)
    assert found.found
    assert found.gap.low > 1
    explained = found.explained
    assert explained.closed.low > 0
    assert explained.beyond_random.low > 0
    assert explained.closed.mean > 0.2 * explained.test_gap.mean
    assert any(each.shown for each in explained.features)
    assert explained.left.mean < explained.test_gap.mean
    assert abs(explained.control.mean) < explained.closed.mean


@pytest.mark.parametrize("kind", ["fair", "whims"])
def test_nothing_is_found_where_there_is_no_bias(models, pack, kind):
    """Also where every name has a habit of its own, so that the prompts of one pair repeat one another."""
    found = audited(models[kind], pack)
    assert not found.found
    assert found.explained is None
    if kind == "whims":
        assert max(abs(gap) for *_, gap in found.pairs) > 1


def test_the_exit_code_and_the_page_say_so(models, pack, tmp_path, capsys):
    page = tmp_path / "page.html"
    assert main([pack, "--model", models["biased"], "--output", str(page)]) == 1
    assert "Yes. " in page.read_text()
    assert "Through which features?" in page.read_text()
    assert main([pack, "--model", models["fair"]]) == 0
    said = capsys.readouterr().out
    assert "Not shown." in said
    assert "Through which features?" not in said


def test_swapping_everything_that_differs_leaves_what_attention_and_tokens_carry(models, pack):
    """Setting all differing features to the partner's values moves the readout to the partner's side."""
    model = ReplacementModel.from_pretrained(models["biased"], transcoders="neurons")
    read = read_prompts(read_pack(pack), model)
    run = run_pair(model, read, read.prompts[0])
    nothing, everything = swapped(read, run, [[], list(run.changed)])
    assert nothing == pytest.approx(run.readouts[0], abs=1e-4)
    assert abs(everything - run.readouts[1]) < abs(nothing - run.readouts[1])


def test_words_of_unequal_length_stand_side_by_side_from_the_end():
    prompt = FilledTemplate(0, 0, ((1, 5, 7, 8, 9), (1, 5, 8, 9)))
    assert prompt.places == {0: 0, 1: 1, 3: 2, 4: 3}
    assert FilledTemplate(0, 0, ((1, 5, 7), (1, 6, 7))).places == {0: 0, 1: 1, 2: 2}
    assert FilledTemplate(0, 0, ((1, 2), (1, 2))).places == {0: 0, 1: 1}


def test_packs_that_ship_can_be_read_and_say_their_limits(capsys):
    assert len(shipped_packs()) == 5
    for name in shipped_packs():
        pack = read_pack(name)
        assert pack.name == name
        assert len(pack.limits) >= 3
        assert len(pack.pairs) >= 16
        assert all(len({one, other}) == 2 for one, other in pack.pairs)
    assert main(["--list"]) == 0
    assert "prompt-injection: " in capsys.readouterr().out


@pytest.mark.parametrize("name", shipped_packs())
def test_a_model_that_cannot_read_a_pack_refuses_it_by_name(models, name):
    with pytest.raises(ConfigurationError, match=f"audit pack '{name}' is not for"):
        main([name, "--model", models["fair"]])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"templates": ["no slot"]}, "must hold"),
        ({"templates": [*TEMPLATES, "{x} and {x}"]}, "must hold"),
        ({"pairs": [[f"a{n}", f"b{n}"] for n in range(15)]}, "pairs"),
        ({"readout": {"plus": ["ball"], "minus": ["ball"]}}, "in both lists"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_is_no_pack_is_refused(tmp_path, changes, said):
    with pytest.raises(ConfigurationError, match=said):
        read_pack(write_pack(tmp_path / "pack.yaml", **changes))


def test_there_is_no_such_pack(models, tmp_path):
    with pytest.raises(ConfigurationError, match="there is no audit pack"):
        main(["no-such-pack"])
    with pytest.raises(ConfigurationError, match="which pack"):
        main([])
    several = write_pack(tmp_path / "p.yaml", readout={"plus": ["ball n1"], "minus": ["drink"]})
    with pytest.raises(ConfigurationError, match="'ball n1' is 2 tokens"):
        main([several, "--model", models["fair"]])
