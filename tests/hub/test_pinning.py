"""Names are fixed to a content: a folder to its hash, a name on the Hub to a commit."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from pipeline.errors import ModelError, TranscoderError
from pipeline.hub.contents import WHOLE_BYTES, fingerprint
from pipeline.hub.pinning import pin
from tests.support.hub_cache import HubCache


def test_a_folder_is_known_by_its_content_not_its_place(model_folder: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(model_folder / "model", tmp_path / "moved"))
    (moved / "README.md").write_text("a card changes nothing")
    assert fingerprint(moved) == fingerprint(model_folder / "model")
    (moved / "config.json").write_text("{}")
    assert fingerprint(moved) != fingerprint(model_folder / "model")


@pytest.mark.parametrize("place", [0, WHOLE_BYTES // 2, WHOLE_BYTES + (1 << 20) - 1])
def test_a_large_file_is_sampled_from_its_first_to_its_last_byte(tmp_path: Path, place: int) -> None:
    path = tmp_path / "weights.safetensors"
    content = bytearray(WHOLE_BYTES + (1 << 20))
    path.write_bytes(content)
    before = fingerprint(tmp_path)
    changed = slice(max(0, place - (1 << 18)), place + (1 << 18))
    content[changed] = b"\1" * len(content[changed])
    path.write_bytes(content)
    assert fingerprint(tmp_path) != before


def test_files_elsewhere_that_a_dictionary_names_are_part_of_it(model_folder: Path, tmp_path: Path) -> None:
    folder = model_folder / "transcoders"
    outside = [tmp_path / f"outside_{layer}.safetensors" for layer in range(2)]
    for layer, path in enumerate(outside):
        (folder / f"layer_{layer}.safetensors").rename(path)
    with (folder / "config.yaml").open("a") as opened:
        opened.write(f"transcoders: [{', '.join(map(str, outside))}]\n")
    before = pin(str(folder), "transcoders").fingerprint
    outside[1].write_bytes(b"other")
    after = pin(str(folder), "transcoders").fingerprint
    assert after.keys() == before.keys()
    assert [name for name in after if after[name] != before[name]] == [str(outside[1])]


def test_a_name_on_the_hub_is_pinned_to_the_commit_of_its_revision(hub_cache: HubCache) -> None:
    model = hub_cache.commit("org/model", {"config.json": "{}"})
    part = hub_cache.commit("org/part", {"config.json": "{}"})
    listing = "transcoders: ['hf://org/part/layer_0.npz']"
    first = hub_cache.commit("org/set", {"config.yaml": listing, "small/config.yaml": ""})
    second = hub_cache.commit("org/set", {"config.yaml": listing})
    assert pin("org/model", "model").name == f"org/model@{model}"
    pinned = pin("org/set@main", "transcoders")
    assert (pinned.name, pinned.folder) == (f"org/set@{second}", None)
    assert pinned.fingerprint == {"org/set": second, "hf://org/part": part}
    assert pin(f"org/set/small@{first}", "transcoders").fingerprint == {"org/set/small": first}


def test_a_set_that_lists_its_own_repository_keeps_its_own_commit(hub_cache: HubCache) -> None:
    old = hub_cache.commit("org/set", {"layer_0.npz": ""})
    listing = f"transcoders: ['hf://org/set/layer_0.npz?revision={old}', layer_1.npz]"
    now = hub_cache.commit("org/set", {"config.yaml": listing, "layer_1.npz": ""})
    pinned = pin("org/set", "transcoders")
    assert pinned.name == f"org/set@{now}"
    assert pinned.fingerprint == {"org/set": now, f"hf://org/set?revision={old}": old}


def test_what_is_nowhere_is_named(hub_cache: HubCache) -> None:
    with pytest.raises(ModelError, match="'nobody/nothing' not found"):
        pin("nobody/nothing", "model")
    with pytest.raises(ModelError, match=r"'\./nothing' not found"):
        pin("./nothing", "model")
    with pytest.raises(TranscoderError, match="'nobody/nothing' not found"):
        pin("nobody/nothing", "transcoders")
