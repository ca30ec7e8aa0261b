"""SQL that judges a model's predictions by the answers that the prompts bring."""

from __future__ import annotations

import pyarrow as pa


def is_correct(answers: pa.Field, rows: str = "g") -> str:
    """Return SQL that is true where a row's prediction is right, false where wrong, null where unknown.

    Spaces around either do not count, case does. A prediction that is only the beginning of a right answer is
    not judged: the tables hold one predicted token, and the answer may go on in further ones.

    Args:
        answers: the column of `graphs` that holds the answer as text, or a list of right ones.
        rows: name of `graphs` in the query.

    """
    quoted = f'{rows}."' + answers.name.replace('"', '""') + '"'
    several = f"{quoted}::varchar[]" if pa.types.is_list(answers.type) else f"[{quoted}::varchar]"
    trimmed = f"list_filter(list_transform({several}, lambda x: trim(x)), lambda x: x <> '')"
    return f"""case
        when coalesce(len({trimmed}), 0) = 0 then null
        when list_contains({trimmed}, trim({rows}.prediction)) then true
        when len(list_filter({trimmed}, lambda x: starts_with(x, trim({rows}.prediction)))) > 0 then null
        else false end"""
