"""`failures`: prompts that could not be traced, and why. A sweep goes on past them."""

from __future__ import annotations

import pyarrow as pa

from schemas.table import Table, column

FAILURES = Table(
    name="failures",
    row="a prompt that could not be traced",
    key=("prompt_key",),
    plain=("prompt_key", "text"),
    takes_columns=True,
    schema=pa.schema(
        [
            column(
                "prompt_key",
                pa.int64(),
                "64 bits of a hash over the prompt's token ids, or over its text where it has no tokens",
                "key",
            ),
            column("id", pa.string(), "The user's name for the prompt, or its place in the data", "name"),
            column("text", pa.string(), "The prompt as it was given", "text", nullable=True),
            column(
                "stage",
                pa.string(),
                "Failed phase: tokenize, targets, attribution, pruning, write, or worker (the process died)",
                "name",
            ),
            column("error_class", pa.string(), "Class of the error, such as PromptError", "name"),
            column("message", pa.string(), "Message of the error", "text"),
            column("attempts", pa.int32(), "Number of tries", "attempts"),
            column("run_key", pa.int64(), "64 bits of a hash over all that changes a result", "key"),
            column("created", pa.timestamp("us", tz="UTC"), "Time of giving the prompt up", "UTC time"),
        ]
    ),
)
