"""Configurations come from strangers: whatever a key holds, the set loads or is refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipeline.errors import TranscoderError
from pipeline.transcoders import load_transcoders
from tests.support.written_formats import VARIANTS

ODD = (None, "x", -1, 0, 10**9, 1.5, True, [], [1], {}, {"a": 1}, "\x1b[2J" + "a" * 10_000)

CONFIGURED = sorted(VARIANTS.keys() - {"GemmaScope", "GemmaScope compressed", "GemmaScope 2 CLT"})


def _configuration(folder: Path) -> Path:
    found = [*folder.rglob("config.yaml"), *folder.rglob("*config.json"), *folder.rglob("*cfg.json")]
    return sorted(found)[0]


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_key_with_a_value_of_any_kind(name, tmp_path):
    folder = VARIANTS[name](tmp_path / "set").folder
    path = _configuration(folder)
    parse, dump = (yaml.safe_load, yaml.safe_dump) if path.suffix == ".yaml" else (json.loads, json.dumps)
    keys = parse(path.read_text())
    for key in keys:
        for value in ODD:
            path.write_text(dump({**keys, key: value}))
            said = _refusal(folder)
            assert "\x1b" not in said, key
            assert len(said) < 3000, key


def _refusal(folder: Path) -> str:
    try:
        load_transcoders(str(folder))
    except TranscoderError as error:
        return str(error)
    return ""
