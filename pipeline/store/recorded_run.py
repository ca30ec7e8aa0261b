"""A what-if as a note keeps it: the model's answer to some changes of one prompt's features."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from pipeline.errors import ConfigurationError
from pipeline.features import parse_feature


def encodable(text: str) -> str:
    """Return a text that a file can hold.

    Raises:
        ValueError: it has halves of characters.

    """
    text.encode()  # UnicodeEncodeError is a ValueError
    return text


def member(text: str) -> str:
    """Return a feature's name in its right spelling.

    Raises:
        ValueError: it is none.

    """
    try:
        return str(parse_feature(text))
    except ConfigurationError as error:
        raise ValueError(str(error)) from error


Text = Annotated[str, AfterValidator(encodable)]
Member = Annotated[str, AfterValidator(member)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TokenChange(_Part):
    """A token that moved."""

    token_id: int = Field(ge=0, lt=2**31)
    label: Annotated[Text, Field(max_length=500)]
    before: Number
    """Probability."""

    after: Number
    logit_change: Number
    """Of the logit less the mean of all."""


class ActivationChange(_Part):
    """A feature that changed."""

    node: Member
    before: Number
    after: Number


class FeatureChange(_Part):
    """A change that was made."""

    node: Member
    kind: Literal["scale", "set"]
    value: Number
    source: Annotated[Text, Field(max_length=1_000)] = ""
    """Feature and prompt that the value was taken from."""


class RecordedRun(_Part):
    """A what-if and its answer."""

    id: Annotated[Text, Field(max_length=1_000)]
    """Of the prompt."""

    mode: Literal["direct", "full", "replacement"]
    changes: Annotated[tuple[FeatureChange, ...], Field(max_length=256)]
    tokens: Annotated[tuple[TokenChange, ...], Field(max_length=64)]
    activations: Annotated[tuple[ActivationChange, ...], Field(max_length=1_000)]
    printed: Annotated[Text, Field(max_length=60_000)]
    """Python that repeats it."""
