"""Documents checked against the schemas of their readers."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

RUN = {
    "dtype": "float32",
    "model": {"name": "org/model"},
    "transcoders": {"name": "org/some set@main"},
    "attribution": {"max_targets": 10, "target_probability": 0.95, "max_feature_nodes": None},
    "pruning": {"node_threshold": 0.8, "edge_threshold": 0.98},
}


def check(name: str, document: object) -> None:
    """Check a document against a schema that lies here."""
    schema = json.loads(Path(__file__).with_name(f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(document)
