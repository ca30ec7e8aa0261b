"""A dictionary's file to start from. It trains as it is, on the built-in model and its prompts."""

from __future__ import annotations

from pipeline.builtin import NAME
from pipeline.configuration import template_lines
from pipeline.training.config import DictionaryConfig

HEADER = """\
# A dictionary: features of a model, trained on text.
#
#   circuit-sweep plan {path}     says what it takes
#   circuit-sweep train {path}    trains it, or goes on where it stopped
#
# As it stands it trains a small one for the built-in model on its prompts: replace `demo` by your names.
# A line that begins with # and a key shows a default: take the # away to change it.
"""


def template(path: str, output: str) -> str:
    """Return the text of a dictionary's file.

    Args:
        path: name of the file, for the commands that its head shows.
        output: folder or URL of the dictionary.

    """
    values = {
        "model": NAME,
        "features": 256,
        "k": 8,
        "source": NAME,
        "text": "prompt",
        "held_out": 0.1,
        "tokens": 100_000,
        "batch": 512,
        "buffer": 2048,
        "output": output,
    }
    return HEADER.format(path=path) + "\n".join(template_lines(DictionaryConfig, values)) + "\n"
