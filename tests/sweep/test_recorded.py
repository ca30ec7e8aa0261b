from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from pipeline.store.output import Output
from pipeline.sweep.pinned_inputs import recorded_names
from pipeline.sweep.pinning import fingerprint


def test_what_a_sweep_used_is_had_again_or_refused(model_folder: Path, tmp_path: Path) -> None:
    folders = {"model": model_folder / "model", "transcoders": model_folder / "transcoders"}
    run = {what: {"name": str(path), "content": fingerprint(path)} for what, path in folders.items()}
    output = Output(tmp_path / "output")
    output.claim(run, 1)
    assert recorded_names(output) == {what: str(path) for what, path in folders.items()}
    (folders["transcoders"] / "layer_0.safetensors").write_bytes(b"other")
    with pytest.raises(ConfigurationError, match=r"transcoders .* is not what the sweep used any more"):
        recorded_names(output)


def test_a_hub_name_stands_for_its_commit(tmp_path: Path) -> None:
    output = Output(tmp_path / "output")
    run = {what: {"name": f"org/{what}@main", f"org/{what}": "abc123"} for what in ("model", "transcoders")}
    output.claim(run, 1)
    assert recorded_names(output) == {"model": "org/model@abc123", "transcoders": "org/transcoders@abc123"}
