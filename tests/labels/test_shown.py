"""A label is shown wherever its feature is named."""

from __future__ import annotations

import json

from jobs import export, show
from pipeline.results import Results
from pipeline.store.notes import Note, write_note


def test_show_and_exports_name_a_feature_with_its_label(random_output, tmp_path, capsys):
    results = Results(random_output.url)
    prompt, layer, feature = results.sql(
        "select id, layer, feature from nodes where kind = 'feature' order by influence desc limit 1"
    ).fetchall()[0]
    label = Note(kind="label", text="rivers [bold]of\x1b[2J Texas", members=(f"{layer}/{feature}",))
    write_note(random_output.folder, label)
    assert show.main([random_output.url, "--prompt", prompt, "--features", "50"]) == 0
    printed = capsys.readouterr().out
    assert "label" in printed
    assert "rivers [bold]of" in printed
    assert "\x1b[2J" not in printed
    assert (
        export.main([random_output.url, "--output", str(tmp_path), "--prompt", prompt, "--features", "none"])
        == 0
    )
    (document,) = [p for p in tmp_path.glob("*.json") if p.name != "graph-metadata.json"]
    clerps = [
        n["clerp"] for n in json.loads(document.read_text())["nodes"] if n["feature_type"].startswith("cross")
    ]
    assert label.text in clerps
    assert all(clerp in ("", label.text) for clerp in clerps)
    (graphml,) = tmp_path.glob("*.graphml")
    assert "Texas" in graphml.read_text()
