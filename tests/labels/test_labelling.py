"""Labels from a language model: asked of one server alone, scored where the truth is known, resumable."""

from __future__ import annotations

import threading
import time

import numpy as np
import pyarrow as pa
import pytest

from jobs.label import main
from pipeline.errors import ConfigurationError
from pipeline.features import FeatureName
from pipeline.labels.endpoint import Endpoint, EndpointError
from pipeline.labels.examples import Contexts
from pipeline.labels.labelling import _answered, _in_batches
from pipeline.labels.questions import read_label, read_trial
from pipeline.labels.scoring import score_label
from pipeline.results import Results
from pipeline.store.notes import current_notes, feature_labels, read_notes
from tests.support.outputs import altered, write_output
from tests.support.stand_in_endpoint import stand_in

PLANTED = [FeatureName(0, 900 + digit) for digit in range(6)]
"""Active where a token's number ends in this digit."""

NOISE = [FeatureName(1, 900 + number) for number in range(6)]
"""Active all over half of the prompts, drawn at random: rows of one prompt repeat one another."""


def planted(tables):
    random = np.random.default_rng(0)
    rows = []
    for prompt in tables["graphs"].to_pylist():
        base = {"prompt_key": prompt["prompt_key"], "id": prompt["id"]}
        noisy = [feature for feature in NOISE if random.random() < 0.5]
        for position, token in enumerate(prompt["token_ids"]):
            active = [feature for feature in PLANTED if token % 10 == feature.feature - 900] + noisy
            for feature in active:
                place = {"position": position, "position_from_end": position - len(prompt["tokens"])}
                name = {"layer": feature.layer, "feature": feature.feature}
                rows.append(base | place | name | {"activation": 1.0 + random.random()})
    schema = tables["activations"].schema
    return tables | {"activations": pa.Table.from_pylist(rows, schema)}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels")
    return altered(write_output(folder / "plain", range(160), ["a"], edges=20), folder / "planted", planted)


@pytest.fixture
def output(sweep, tmp_path):
    return altered(sweep, tmp_path / "output", lambda tables: tables)


def label(output, server, *options, features=(*PLANTED, *NOISE)):
    names = [str(feature) for feature in features]
    return main([output.url, "--endpoint", server.url, "--model", "digits", "--features", *names, *options])


def notes_of(output):
    return current_notes(read_notes(output.folder))


def test_labels_that_hold_beat_another_features_and_those_of_noise_do_not(output, capsys):
    with stand_in() as server:
        assert label(output, server) == 0
    labels = feature_labels(notes_of(output))
    for feature in PLANTED:
        assert labels[str(feature)].text == f"tokens that end in {feature.feature - 900}"
        assert labels[str(feature)].score == 1.0
        assert labels[str(feature)].beats_control is True
    assert [labels[str(feature)].beats_control for feature in NOISE] == [False] * len(NOISE)
    assert all(str(labels[str(feature)]).endswith("(unproven)") for feature in NOISE)
    said = capsys.readouterr().out
    assert f"{3 * 12} requests to {server.url}" in said
    assert "6 of 12 labels" in said
    (row,) = (
        Results(output.url)
        .sql("select score_low, score_high, control, source, measure from labels where members[1] = '0/900'")
        .fetchall()
    )
    assert row[0] < 1.0
    assert row[1] > 0.99
    assert row[2] < 0.8
    assert row[3:] == (f"digits at {server.url[7:-3]}", "balanced accuracy")


def test_a_dry_run_sends_nothing_and_shows_the_first_request(output, capsys):
    with stand_in() as server:
        assert label(output, server, "--dry-run") == 0
        assert not server.asked
    said = capsys.readouterr().out
    assert "36 requests" in said
    assert "<<t" in said
    assert not notes_of(output)


def test_a_stopped_run_goes_on_and_asks_nothing_twice(output):
    with stand_in() as server:
        server.refuse_after = 8
        with pytest.raises(EndpointError, match="refuses \\(401\\)"):
            label(output, server, "--parallel", "1")
        assert len(notes_of(output)) == 8
        server.refuse_after = None
        label(output, server, "--parallel", "1")
        assert len(server.asked) == 36 + 1  # one was refused
        label(output, server)
        assert len(server.asked) == 37
    assert len(notes_of(output)) == 12


def test_answers_that_come_after_an_error_are_kept():
    failed = threading.Event()

    def work(item):
        if item == 0:
            failed.set()
            raise EndpointError("down")
        failed.wait()
        time.sleep(0.05)
        return item

    batches = _in_batches(_answered(work, range(9), 3))
    assert sorted(next(batches)) == [1, 2]
    with pytest.raises(EndpointError, match="down"):
        next(batches)


def test_a_label_is_never_tried_on_what_it_was_made_from(sweep):
    for each in Contexts(Results(sweep.url)).examples([*PLANTED, *NOISE]):
        shown = {example.text for example in each.shown}
        tried = [example.text for example in (*each.active, *each.inactive)]
        assert each.can_be_tried
        assert shown.isdisjoint(tried)
        assert len(tried) == len(set(tried))
        assert all(example.activation > 0 for example in (*each.shown, *each.active))


def test_clusters_are_kept_together(output):
    with pytest.raises(ConfigurationError, match="no column of graphs"):
        Contexts(Results(output.url), "subject")
    # All prompts are of one family: in one half, so that nothing is left to try labels on.
    (each,) = Contexts(Results(output.url), "family").examples(PLANTED[:1])
    assert len(each.shown) + len(each.active) <= 1


def test_positions_of_one_text_are_in_one_half(sweep, tmp_path):
    def one_text(tables):
        graphs = tables["graphs"]
        place = graphs.schema.get_field_index("sequence_key")
        keys = pa.array([7] * len(graphs), graphs.schema.field(place).type)
        return tables | {"graphs": graphs.set_column(place, graphs.schema.field(place), keys)}

    output = altered(sweep, tmp_path / "positions", one_text)
    (each,) = Contexts(Results(output.url)).examples(PLANTED[:1])
    assert len(each.shown) + len(each.active) <= 1


def test_prompts_without_a_cluster_are_clusters_of_their_own(sweep, tmp_path):
    def without(tables):
        graphs = tables["graphs"]
        place = graphs.schema.get_field_index("family")
        field = graphs.schema.field(place)
        return tables | {"graphs": graphs.set_column(place, field, pa.nulls(len(graphs), field.type))}

    output = altered(sweep, tmp_path / "nulls", without)
    (each,) = Contexts(Results(output.url), "family").examples(PLANTED[:1])
    assert len(each.shown) > 1
    assert each.can_be_tried


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(output):
    endpoint = None
    with stand_in() as server:
        endpoint = Endpoint(server.url, "digits")
        server.first = [(429, {"Retry-After": "0"}), (503, {"Retry-After": "0"})]
        assert endpoint.ask("", "<<t5>>").endswith("5**")
        assert len(server.asked) == 3
        assert server.keys == [None] * 3
        server.first = [(404, {})]
        with pytest.raises(EndpointError, match="refuses \\(404\\)"):
            endpoint.ask("", "<<t5>>")
        assert len(server.asked) == 4


def test_nothing_is_sent_where_a_server_points(monkeypatch):
    monkeypatch.setenv("KEY", "secret-of-mine")
    with stand_in() as server, stand_in() as other:
        server.first = [(307, {"Location": f"{other.url}/chat/completions"})]
        with pytest.raises(EndpointError, match="points elsewhere") as raised:
            Endpoint(server.url, "digits", "KEY").ask("", "<<t5>>")
        assert not other.asked
        assert server.keys == ["Bearer secret-of-mine"]
        assert "secret" not in str(raised.value)


@pytest.mark.parametrize("raw", [b"<html>", b'{"choices": []}', b"[1]"])
def test_another_protocol_is_named(raw):
    with stand_in() as server:
        server.raw = raw
        with pytest.raises(EndpointError, match="another protocol"):
            Endpoint(server.url, "digits").ask("", "<<t5>>")


@pytest.mark.parametrize(
    ("url", "key", "said"),
    [
        ("localhost:8000", None, "is no address"),
        ("ftp://host/v1", None, "is no address"),
        ("https://me:pw@host/v1", None, "must not hold credentials"),
        ("https://host/v1", "NO_SUCH_KEY", "has no such key"),
        ("http://host/v1", "KEY", "unencrypted"),
    ],
)
def test_what_is_no_endpoint_is_refused(monkeypatch, url, key, said):
    monkeypatch.setenv("KEY", "x")
    with pytest.raises(ConfigurationError, match=said):
        Endpoint(url, "m", key)


def test_answers_are_read_with_what_models_put_around_them():
    assert read_label('Thinking...\n"**Cities in Texas.**"') == "Cities in Texas"
    assert read_label("\n") == ""
    assert read_trial('Well {"active": [1]} or rather\n```json\n{"active": [2, 3]}\n```', 3) == [
        False,
        True,
        True,
    ]
    assert read_trial('{"active": []}', 2) == [False, False]
    for wrong in ("none", '{"active": [4]}', '{"active": "1"}', "{active: 1}", '{"fits": [1]}'):
        assert read_trial(wrong, 3) is None


def test_the_chance_of_a_lead_is_exact():
    active = [True] * 4 + [False] * 4
    best = score_label(active, [not each for each in active], active)
    assert best.p_value == pytest.approx(0.5**8)
    assert score_label(active, active, active).p_value == 1.0
    everything = score_label([True] * 8, [False] * 8, active)
    assert everything.score == everything.control == 0.5
    assert everything.p_value > 0.5
