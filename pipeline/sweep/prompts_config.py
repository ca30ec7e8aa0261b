"""The prompts of a sweep as typed, frozen configuration: where they are, and which belong together."""

from __future__ import annotations

from typing import Any

import yaml
from pydantic import field_validator, model_validator

from pipeline.configuration import Count, Section
from pipeline.credentials import without_credentials
from pipeline.untrusted import parse_yaml


class PromptsConfig(Section):
    """The dataset of prompts, and how to read it."""

    source: str
    """Parquet, JSON lines, CSV or text file (globs allowed), a Hugging Face dataset, `demo` or `english`."""

    text: str | None = None
    """Column with the text (default: `prompt`, or the only column of a text file)."""

    token_ids: str | None = None
    """Column with lists of token ids, used instead of text."""

    chat: bool = False
    """Apply the tokenizer's chat template: to the text as one user turn, or to a column of messages (`role`,
    `content`, `tool_calls`, ...; or `from`, `value`), as lists or as JSON."""

    template: dict[str, Any] | None = None
    """Arguments of the chat template, such as `{enable_thinking: false}`."""

    opening: str | int | None = None
    """Token in front of a prompt that begins with no special one: `tokenizer` for what the tokenizer itself
    puts there, `none`, or a token by its text or id (default: BOS, else pad, else EOS, which is
    circuit-tracer's rule; chats are as the template gives them)."""

    id: str | None = None
    """Column with your own id of a prompt (default: `id` where there is one, else the row number)."""

    columns: tuple[str, ...] = ()
    """Extra columns: columns of the prompts that go along into `graphs` and `failures`."""

    split: str = "train"
    """Split of a Hugging Face dataset; files have only `train`."""

    limit: Count | None = None
    """Maximum number of prompts to read (default: all)."""

    @field_validator("source")
    @classmethod
    def _no_credentials(cls, value: str) -> str:
        return without_credentials("prompts.source", value)

    @field_validator("template", mode="before")
    @classmethod
    def _template_as_written(cls, value: Any) -> Any:
        # A command line has no mappings: there it is text, written as in the file.
        try:
            return parse_yaml(value)[0] if isinstance(value, str) else value
        except yaml.YAMLError as error:
            raise ValueError(
                f"is {value!r}, which is not a mapping such as {{enable_thinking: false}}"
            ) from error

    @model_validator(mode="after")
    def _one_input(self) -> PromptsConfig:
        if self.text is not None and self.token_ids is not None:
            raise ValueError("names both a text column and a token_ids column: keep the one to be traced")
        if self.template is not None and not self.chat:
            raise ValueError("sets template, but not chat: its arguments are the chat template's")
        if self.chat and self.token_ids is not None:
            raise ValueError("sets chat, but names a token_ids column: a chat template makes ids from text")
        return self


class PairsConfig(Section):
    """Prompts that come in pairs, a clean and a corrupt one say, for `circuit-sweep pairs`."""

    column: str | None = None
    """Column whose value the two prompts of a pair share; it goes along into `graphs`."""

    role: str | None = None
    """Column that tells the two apart, such as `clean` and `corrupt`; it goes along too (default: none)."""

    @model_validator(mode="after")
    def _role_of_a_pair(self) -> PairsConfig:
        if self.role is not None and self.column is None:
            raise ValueError("names a role, but no column that the prompts of a pair share")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that say who belongs to whom."""
        return tuple(name for name in (self.column, self.role) if name is not None)
