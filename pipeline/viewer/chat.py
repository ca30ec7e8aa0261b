"""Tells without loading anything if a sweep's model has a chat template."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from pipeline.builtin import resolve
from pipeline.store import Output

FILES = ("chat_template.jinja", "chat_template.json", "tokenizer_config.json")
"""Files that may hold the template."""


def has_chat_template(output: Output) -> bool:
    """True if the model's folder, or what is here of its repository, says how chats are written."""
    described = output.claimed().run.get("model", {})
    folder = Path(resolve(str(described.get("name", "")), "model"))
    for name in FILES:
        file = folder / name
        if not folder.is_dir():
            repository = next((key for key in described if key not in ("name", "content")), None)
            if repository is None:
                return False
            found = try_to_load_from_cache(repository, name, revision=described[repository])
            if not isinstance(found, str):
                continue
            file = Path(found)
        if file.is_file() and (name != FILES[-1] or '"chat_template"' in file.read_text(errors="replace")):
            return True
    return False
