"""Read the `config.yaml` that lies beside a whole set of transcoders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import TranscoderError


def read_config(directory: Path) -> dict[str, Any]:
    """Return the parsed `config.yaml` of a folder.

    Raises:
        TranscoderError: it is missing, or holds no keys and values.

    """
    path = directory / "config.yaml"
    if not path.is_file():
        raise TranscoderError(
            f"{path} is missing: a transcoder folder holds config.yaml beside its safetensors files."
        )
    try:
        config = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TranscoderError(f"{path} is not readable as YAML: {error}") from error
    if not isinstance(config, dict):
        raise TranscoderError(f"{path} holds {type(config).__name__}, but must hold keys and values.")
    return config
