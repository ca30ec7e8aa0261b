"""The option `--picture` of `show` and `view`: a graph drawn into a file, without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.results import StoredGraph


def write_picture(graph: StoredGraph, path: str) -> None:
    """Write the graph's picture as its name's ending says, and print the name.

    Raises:
        ConfigurationError: the name ends in neither `.svg` nor `.png`, the file cannot be written, or nothing
            here can draw a PNG.

    """
    ending = Path(path).suffix.lower()
    if ending not in (".svg", ".png"):
        raise ConfigurationError(
            f"--picture {path}: pictures are SVG or PNG, so give a name that ends in .svg or .png."
        )
    picture = graph.picture()
    data = picture.png() if ending == ".png" else picture.svg().encode()
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise ConfigurationError(f"--picture {path} cannot be written: {error.strerror or error}.") from error
    print(path)
