from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
import torch

from pipeline import ReplacementModel, Results
from pipeline.errors import ConfigurationError, QueryError, StoreError
from pipeline.export.write import _supernodes, export
from pipeline.store.output import Output
from tests.support.exported import RUN, check

ROOT = Path(__file__).parents[2]


def documents(folder: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.rglob("features/*/*.json"))]


def test_a_prompt_with_its_features(
    demo_output: Output, demo_model: ReplacementModel, tmp_path: Path
) -> None:
    results = Results(demo_output)
    done = export(results, tmp_path, ["p0"])
    (path,) = done.graphs
    graph = json.loads(path.read_text())
    check("attribution_graph", graph)
    numbers = {n["feature"] for n in graph["nodes"] if n["feature_type"] == "cross layer transcoder"}
    written = {
        int(p.stem)
        for p in (tmp_path / graph["metadata"]["feature_details"]["feature_json_base_url"]).iterdir()
    }
    assert numbers == written
    assert done.features == len(numbers) > 0
    for document in documents(tmp_path):
        check("feature", document)
        rows = demo_model.transcoders.layers[document["layer"]].decoder_rows(
            torch.tensor([document["index"]]), 0
        )
        logits = (rows[0] * demo_model.final_norm.weight) @ demo_model.unembedding.T
        order = logits.argsort(descending=True).tolist()
        names = [demo_model.tokenizer.decode([token]) for token in order]
        assert document["top_logits"] == names[:10]
        assert document["bottom_logits"] == names[::-1][:10]
    index = json.loads((tmp_path / "graph-metadata.json").read_text())
    assert [entry["slug"] for entry in index["graphs"]] == ["p0"]
    assert (tmp_path / "p0.graphml").exists()


def test_many_prompts_by_sql(results: Results, tmp_path: Path) -> None:
    done = export(results, tmp_path, ["prompt-0"], "family = 'f0' -- the first third", "activations")
    assert len(done.graphs) == 10
    for path in done.graphs:
        check("attribution_graph", json.loads(path.read_text()))
    found = documents(tmp_path)
    assert len(found) == done.features
    assert not any(document["top_logits"] for document in found)
    export(results, tmp_path, ["prompt-0"], None, "none")
    index = json.loads((tmp_path / "graph-metadata.json").read_text())
    assert len(index["graphs"]) == 10
    assert {entry["scan"] for entry in index["graphs"]} == {"org-some-set-main"}


def test_a_viewers_name_of_the_model_and_a_size(
    results: Results, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = export(results, tmp_path / "whole", ["prompt-0"], features="none")
    assert whole.too_large == {}
    most = whole.graphs[0].stat().st_size * 3 // 4
    monkeypatch.setattr("pipeline.export.write.NEURONPEDIA_TAKES", most)
    options = {"features": "none", "scan": "gemma-2-2b", "graphml": False}
    done = export(results, tmp_path, ["prompt-0"], **options)
    assert done.too_large == {"prompt-0": pytest.approx(whole.graphs[0].stat().st_size, abs=100)}
    done = export(results, tmp_path, ["prompt-0"], most_bytes=most, **options)
    assert done.too_large == {}
    document = json.loads(done.graphs[0].read_text())
    check("attribution_graph", document)
    assert document["metadata"]["scan"] == "gemma-2-2b"
    assert not list(tmp_path.glob("*.graphml"))
    for scan in ("google/gemma-2-2b", "", "../x", "a" * 101):
        with pytest.raises(ConfigurationError, match="scan is"):
            export(results, tmp_path, ["prompt-0"], scan=scan)


def test_supernodes_that_were_never_sought_are_asked_for(results: Results, tmp_path: Path) -> None:
    with pytest.raises(QueryError, match=r"the table supernodes is not there yet.*aggregate"):
        export(results, tmp_path, ["prompt-0"], features="none", supernodes=True)


def test_supernodes_have_names_of_their_own(results: Results) -> None:
    rows = [(0, 5, 2, "a", True), (1, 6, 2, "a", True), (0, 7, 3, None, False), (0, 8, 4, "a", False)]
    names = ("layer", "feature", "supernode", "prompt_group", "is_stable")
    table = [dict(zip(names, row, strict=True)) | {"members": 1 if row[1] == 8 else 2} for row in rows]
    results.connection().register("supernodes", pa.Table.from_pylist(table))
    assert _supernodes(results) == {
        (0, 5): "supernode 2: a",
        (1, 6): "supernode 2: a",
        (0, 7): "unstable supernode 3",
    }


def test_mistakes_are_explained(results: Results, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no graph in .* has the id 'prompt-99'"):
        export(results, tmp_path, ["prompt-99"], features="none")
    (tmp_path / "secret.csv").write_text("a\n1\n")
    for where, named in {
        "family = 'none'": "holds for no prompt",
        "nope = 3": "nope",
        "true) order by (id": "SQL expression",
        f"true) ; copy (select 1) to '{tmp_path}/written' ; select (1=1": "SQL expression",
        f"true); attach '{tmp_path}/written' as made; --": "SQL expression",
        "random() < 0.5": "uses random",
        f"(select count(*) from '{tmp_path}/secret.csv') = 1": "cannot be evaluated",
    }.items():
        with pytest.raises(ConfigurationError, match=f"--where.*{named}"):
            export(results, tmp_path, where=where, features="none")
    assert not (tmp_path / "written").exists()


def test_another_model_under_the_same_name_is_refused(tmp_path: Path) -> None:
    output = Output(tmp_path / "out")
    output.claim(RUN | {"model": {"name": "demo", "content": "another"}}, -7)
    with pytest.raises(ConfigurationError, match="'demo' changed since the sweep"):
        export(Results(output), tmp_path / "to", where="true")


def test_the_command(demo_output: Output, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "jobs.export", demo_output.url, *arguments],
            capture_output=True, text=True, cwd=ROOT, check=False,
        )  # fmt: skip

    done = command("--prompt", "p0", "--prompt", "p1", "--output", str(tmp_path), "--features", "activations")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 graphs and ")
    assert {path.name for path in tmp_path.glob("p*")} == {"p0.json", "p0.graphml", "p1.json", "p1.graphml"}
    refused = command("--output", str(tmp_path))
    assert refused.returncode == 2
    assert "which prompts?" in refused.stderr
