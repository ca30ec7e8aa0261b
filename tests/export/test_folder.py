"""Names of exported files: any legal id, any earlier call, any links that are there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import Results
from pipeline.errors import ConfigurationError
from pipeline.export.write import export
from pipeline.store.commits.keys import shard_id
from pipeline.store.output import Output
from pipeline.store.rows.failures import join_tables
from pipeline.store.rows.graphs import graph_tables
from tests.support.exported import RUN
from tests.support.random_graphs import random_prompt

IDS = ["graph-metadata", "Graph-Metadata", "features", "x" * 5000, "a/b", "a b", "A", "a", "..", "", "plain"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A prompt for each of these ids."""
    return swept(tmp_path_factory.mktemp("ids"), IDS, -7)


def swept(folder: Path, ids: list[str], run_key: int) -> Results:
    output = Output(folder / "out")
    output.claim(RUN, run_key)
    prompts = [replace(random_prompt(number), id=id, run_key=run_key) for number, id in enumerate(ids)]
    rows = join_tables(graph_tables(prompt, output.extra_columns) for prompt in prompts)
    output.commit(shard_id([prompt.prompt_key for prompt in prompts], run_key), rows)
    return Results(output)


def exported_ids(folder: Path) -> list[str]:
    index = json.loads((folder / "graph-metadata.json").read_text())
    documents = (json.loads((folder / f"{graph['slug']}.json").read_text()) for graph in index["graphs"])
    return [document["metadata"]["info"]["prompt_id"] for document in documents]


def test_every_id_gets_a_file_of_its_own_in_one_call_or_many(results: Results, tmp_path: Path) -> None:
    export(results, tmp_path / "one", where="true", features="none")
    for id in IDS * 2:
        export(results, tmp_path / "many", [id], features="none")
    for folder in (tmp_path / "one", tmp_path / "many"):
        assert sorted(exported_ids(folder)) == sorted(IDS)
        names = [path.name.lower() for path in folder.iterdir()]
        assert len(set(names)) == len(names) == 2 * len(IDS) + 1
        assert (folder / "plain.json").exists()


def test_sweeps_of_the_same_prompts_do_not_replace_one_another(tmp_path: Path) -> None:
    sweeps = {key: swept(tmp_path / str(key), ["plain", "a b"], key) for key in (-7, 8, 9)}
    folder = tmp_path / "exported"
    written: dict[Path, str] = {}
    for key, results in sweeps.items():
        for path in export(results, folder, where="true", features="none").graphs:
            assert path not in written
            written[path] = f"{key % 2**64:016x}"
    assert len(list(folder.glob("*.graphml"))) == len(written) == 6
    assert folder / "plain.json" in written
    # Again, in any order: each replaces its own.
    for results in reversed(sweeps.values()):
        assert set(export(results, folder, where="true", features="none").graphs) <= written.keys()
    for path, run_key in written.items():
        assert json.loads(path.read_text())["metadata"]["info"]["run_key"] == run_key
    assert sorted(exported_ids(folder)) == ["a b"] * 3 + ["plain"] * 3


def test_features_of_two_sweeps_with_one_dictionary_do_not_mix(tmp_path: Path) -> None:
    sweeps = [swept(tmp_path / name, ["plain"], key) for name, key in (("a", 8), ("b", 9), ("c", 9))]
    folder = tmp_path / "exported"
    for _ in range(2):
        for results in sweeps:
            export(results, folder, where="true", features="activations")
    places = {}
    for path in folder.glob("plain*.json"):
        metadata = json.loads(path.read_text())["metadata"]
        places[metadata["feature_details"]["feature_json_base_url"]] = metadata["scan"]
    assert len(places) == 2  # the third sweep's graph is the second's: the same prompt under the same run
    assert len([path for path in (folder / "features").iterdir() if path.is_dir()]) == 3
    for place, scan in places.items():
        assert place == f"features/{scan}"
        owner = json.loads((folder / f"{place}.json").read_text())
        assert owner["run_key"] in ("0000000000000008", "0000000000000009")
        assert list((folder / place).iterdir())


def test_a_name_that_the_user_gives_stays_where_another_sweep_has_it(tmp_path: Path) -> None:
    folder = tmp_path / "exported"
    for key in (8, 9):
        (path,) = export(
            swept(tmp_path / str(key), ["plain"], key),
            folder,
            where="true",
            features="activations",
            scan="gemma-2-2b",
        ).graphs
        metadata = json.loads(path.read_text())["metadata"]
        assert metadata["scan"] == "gemma-2-2b"
    assert metadata["feature_details"]["feature_json_base_url"].startswith("features/gemma-2-2b-")


def test_what_is_there_already_is_not_written_over_or_through(results: Results, tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "exported"
    victim.write_text("mine")
    folder.mkdir()
    (folder / "plain.json").write_text("of somebody else")
    (folder / "a.graphml").symlink_to(victim)
    export(results, folder, ["plain", "a"], features="none")
    assert victim.read_text() == "mine"
    assert (folder / "plain.json").read_text() == "of somebody else"
    assert sorted(exported_ids(folder)) == ["a", "plain"]


def test_a_link_in_the_place_of_the_index_or_of_a_graph_is_replaced(results: Results, tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim.json", tmp_path / "exported"
    export(results, folder, ["plain"], features="none")
    for name in ("graph-metadata.json", "plain.json"):
        victim.write_bytes((folder / name).read_bytes())
        (folder / name).unlink()
        (folder / name).symlink_to(victim)
        before = victim.read_bytes()
        export(results, folder, ["plain", "a"], features="none")
        assert victim.read_bytes() == before
        assert not (folder / name).is_symlink()


def test_a_folder_of_features_that_leads_elsewhere_is_refused(results: Results, tmp_path: Path) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "exported"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "features").symlink_to(elsewhere)
    with pytest.raises(ConfigurationError, match="leads out of"):
        export(results, folder, ["plain"], features="activations")
    assert list(elsewhere.rglob("*.json")) == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"graphs": [1]}', "[" * 100_000])
def test_an_index_that_is_none_is_named(results: Results, tmp_path: Path, content: str) -> None:
    (tmp_path / "graph-metadata.json").write_text(content)
    with pytest.raises(ConfigurationError, match=r"graph-metadata.json is not the index"):
        export(results, tmp_path, ["plain"], features="none")
