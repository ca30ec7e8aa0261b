"""A sweep file to start from: every key with its description, made from the configuration's own docstrings.

It runs as it is, on the built-in model and prompts. Keys with a default are commented out (`#key: default`),
prose is behind `# `.
"""

from __future__ import annotations

from pipeline.builtin import NAME
from pipeline.configuration import template_lines
from pipeline.sweep.config import SweepConfig

HEADER = """\
# A sweep: a dataset of prompts, traced into tables of attribution graphs.
#
#   circuit-sweep plan {path}    estimates what it takes
#   circuit-sweep run {path}     runs it, or what is left of it
#
# As it stands it traces the built-in model on its own prompts: replace `demo` by your names.
# A line that begins with # and a key shows a default: take the # away to change it.
"""


def template(path: str, output: str) -> str:
    """Return the text of a sweep file.

    Args:
        path: name of the file, for the commands that its head shows.
        output: folder or URL that the sweep writes to.

    """
    values = {"model": NAME, "transcoders": NAME, "source": NAME, "output": output}
    return HEADER.format(path=path) + "\n".join(template_lines(SweepConfig, values)) + "\n"
