"""What `circuit-sweep show --feature` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobs._labels import Labels, labelled
from pipeline.token_labels import token_label

if TYPE_CHECKING:
    from rich.text import Text

    from pipeline.export import FeaturePage
    from pipeline.untrusted import Console

CONTEXT = 8
"""Tokens that are shown on either side of the one where a feature is strongest."""


def print_page(console: Console, page: FeaturePage, labels: Labels) -> None:
    """Print the page of a feature."""
    from rich.table import Table
    from rich.text import Text

    console.print(
        f"feature {labelled(labels, page.feature)}: active on {page.prompts:,} of {page.all_prompts:,} "
        f"prompts and {page.tokens:,} of {page.all_tokens:,} tokens, "
        f"from {page.lowest:.3g} to {page.highest:.3g}",
        markup=False,
    )
    for verb, tokens in (("promotes", page.promotes), ("suppresses", page.suppresses)):
        console.print(f"{verb}: {', '.join(map(token_label, tokens))}", markup=False)
    table = Table("activation", "prompt", "in", "prediction")
    for row in page.examples.to_pylist():
        name, prediction = Text(row["id"]), Text(token_label(row["prediction"]))
        table.add_row(f"{row['activation']:.3g}", name, _context(row["tokens"], row["position"]), prediction)
    console.print(table)
    if page.groups:
        groups = Table("group", "active on", "of")
        for share in page.groups:
            groups.add_row(Text(share.group), f"{share.active:,}", f"{share.prompts:,}")
        console.print(groups)


def _context(tokens: list[str], position: int) -> Text:
    """Return the tokens around a position, it between brackets."""
    from rich.text import Text

    # Tokens of most models hold their own spaces, words of a vocabulary of words do not.
    space = "" if any(token.startswith(" ") for token in tokens) else " "
    shown = [token_label(token)[1:-1] for token in tokens]
    before, after = shown[max(0, position - CONTEXT) : position], shown[position + 1 : position + 1 + CONTEXT]
    text = Text(space.join(before) + " ")
    text.append(f"[{shown[position].strip()}]", "bold")
    return text.append(space + space.join(after))
