"""Draw the pruned attribution graph of `README.md` and `docs/concepts.md`, which `make docs` writes."""

from __future__ import annotations

from pipeline import ReplacementModel, attribute, prune
from pipeline.graph import picture_of

PROMPT = "The capital of the state containing Dallas is"


def draw(prompt: str = PROMPT) -> str:
    """Trace a prompt with the built-in model and return its pruned graph as SVG."""
    model = ReplacementModel.from_pretrained("demo", transcoders="demo")
    graph = attribute(model, prompt)
    return picture_of(graph, prune(graph)).svg()
