"""Answers of the server: one function an endpoint, which gets what is asked and returns JSON or arrays.

The contract with the page. Every answer is a JSON object, or packed arrays behind one
(`pipeline.viewer.packed`). An error is `{"error": {"message", "way_out"}}` with a status of 4xx or 5xx, and
may say more beside these.

- `state=` (the name that `/api/sweep` gave) or `at=` (a version or date) fixes the state that answers;
  without either, it is the one opened last. `/api/news` counts what came since; POST `/api/refresh` opens it.
- `KEY` is a prompt's id or its key, URL-escaped. Keys are text, since they have 64 bits.
- Tokens, labels of targets and predictions come printable (`pipeline.token_labels`): controls are escaped.
- Lists of prompts take `where=` (SQL over `graphs` with `correct`, `verdict`, `necessity`, ...), `q=` (words,
  "quoted words", a feature such as `2/350`, or `where: SQL`) and facets `is.COLUMN=VALUE` (repeated: or;
  an empty one is null).
"""

from pipeline.viewer.answers.circuit import circuit
from pipeline.viewer.answers.discovered import circuits
from pipeline.viewer.answers.feature import feature, feature_edges, features
from pipeline.viewer.answers.graph import find_prompt, graph
from pipeline.viewer.answers.loadings import loadings
from pipeline.viewer.answers.notes import add_note, notes
from pipeline.viewer.answers.overview import overview
from pipeline.viewer.answers.prompts import failures, filters, prompts, shown
from pipeline.viewer.answers.search import search
from pipeline.viewer.answers.sql import sql
from pipeline.viewer.answers.sweep import sweep

ANSWERS = {
    "/api/sweep": sweep,
    "/api/overview": overview,
    "/api/prompts": prompts,
    "/api/failures": failures,
    "/api/graph/{key:.+}": graph,
    "/api/loadings/{key:.+}": loadings,
    "/api/feature/{layer}/{feature}": feature,
    "/api/feature/{layer}/{feature}/edges": feature_edges,
    "/api/features": features,
    "/api/circuit": circuit,
    "/api/circuits": circuits,
    "/api/search": search,
}
"""Functions by the path that they answer."""

__all__ = ["ANSWERS", "add_note", "filters", "find_prompt", "graph", "notes", "shown", "sql"]
