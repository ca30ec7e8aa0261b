"""Conversations as text, by the chat template of an instruction-tuned model's tokenizer.

The text is the template's own, to the last character: whatever a message holds (parts, tool calls, a name)
goes to the template. Only three things are ours. A key whose value is null counts as absent. Messages with
`from` and `value` (ShareGPT) get a role and a content. And a last turn of the assistant is cut where its
words end, so that the model goes on inside it: a mark is put behind the words, and what the template writes
before the mark must be how it begins the whole conversation, or the prompt is refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from pipeline.errors import ModelError, PromptError
from pipeline.untrusted import TemplateError, render_template

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Message = Mapping[str, Any]
"""`role` (system, user, assistant, tool, ...), `content`, `tool_calls` and whatever else a template reads."""

SET_HERE = ("messages", "conversation", "add_generation_prompt", "continue_final_message", "tokenize")
"""Arguments of a template that a user does not set: they follow from the messages."""

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
}
"""Roles of the speakers in conversations of ShareGPT's kind (`from`, `value`)."""

END_OF_WORDS = "\N{END OF TEXT}END-OF-WORDS\N{END OF TEXT}"
"""Mark behind the words that the model continues."""

GENERATION = re.compile(r"\{%-?\s*(end)?generation\s*-?%\}")
"""Tags that transformers adds to Jinja's language; they write nothing."""


def check_chat_template(
    tokenizer: PreTrainedTokenizerBase, name: str, arguments: Mapping[str, Any] | None = None
) -> None:
    """Refuse a tokenizer that does not say how conversations are written, or arguments that it does not read.

    Raises:
        ModelError: naming the model and the way out.

    """
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of model {name!r} has no chat template: take the model's instruction-tuned "
            "version, or leave prompts.chat out and write the prompts as the model reads them."
        )
    from jinja2 import TemplateSyntaxError

    arguments = arguments or {}
    template = tokenizer.get_chat_template(arguments.get("chat_template"), arguments.get("tools"))
    try:
        known = _variables(template)
    except (TemplateSyntaxError, RecursionError) as error:
        raise ModelError(
            f"the chat template of model {name!r} is not valid Jinja ({error!s:.200}): "
            "fetch the tokenizer again, or take another revision."
        ) from error
    if mine := [key for key in arguments if key in SET_HERE]:
        raise ModelError(f"prompts.template sets {mine[0]!r}, which follows from the messages: leave it out.")
    if unread := [key for key in arguments if key not in known and key != "chat_template"]:
        named = ", ".join(sorted(known - set(SET_HERE) - set(tokenizer.special_tokens_map)))
        raise ModelError(
            f"prompts.template sets {unread[0]!r}, which the chat template of model {name!r} does not read. "
            f"It reads {named or 'the messages alone'}."
        )


@cache
def _variables(template: str) -> frozenset[str]:
    """Return the names that a template takes from outside."""
    from jinja2 import Environment, meta

    parsed = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(GENERATION.sub("", template))
    return frozenset(meta.find_undeclared_variables(parsed))


def render_chat(
    tokenizer: PreTrainedTokenizerBase,
    content: str | Sequence[Message],
    arguments: Mapping[str, Any] | None = None,
) -> str:
    """Return a conversation as the model reads it, up to where the assistant speaks next.

    A conversation that ends with the assistant's words goes on inside them; one that ends with the
    assistant's call of a tool is written to the end of that turn.

    Args:
        tokenizer: brings the template.
        content: one user turn, or the messages.
        arguments: of the template, such as `enable_thinking`.

    Raises:
        PromptError: a message is malformed, or the template refuses or changes it.

    """
    if isinstance(content, str):
        if not content.strip():
            raise PromptError(f"prompt {content!r} is empty: give some text.")
        content = [{"role": "user", "content": content}]
    messages = [_checked(message, number) for number, message in enumerate(content)]
    if not messages:
        raise PromptError("the conversation has no messages: give at least one.")
    last = messages[-1]
    if last["role"] != "assistant":
        return _render(tokenizer, messages, arguments, add_generation_prompt=True)
    whole = _render(tokenizer, messages, arguments)
    if last.get("tool_calls"):
        return whole
    marked = _render(tokenizer, [*messages[:-1], _marked(last)], arguments)
    return _before_mark(marked, whole)


def _checked(message: Message, number: int) -> dict[str, Any]:
    """Return the keys of a message that have a value."""
    present = (
        {key: value for key, value in message.items() if value is not None}
        if isinstance(message, Mapping)
        else {}
    )
    if "role" not in present and "from" in present and "value" in present:
        present = _of_sharegpt(present, number)
    role, content = present.get("role"), present.get("content")
    if not (isinstance(role, str) and role.strip()) or len(present) < 2:
        raise PromptError(
            f"message {number} is {message!r:.80}, but must have a `role` and a `content`, neither empty."
        )
    if content is not None and not isinstance(content, str | Sequence):
        raise PromptError(
            f"message {number} has the content {content!r:.80}: it must be text, or a list of parts."
        )
    if isinstance(content, str) or content is None:
        return present
    for part in content:
        if not isinstance(part, str | Mapping):
            raise PromptError(
                f"message {number} has the part {part!r:.80}: it must be a mapping with a `type`."
            )
        if isinstance(part, Mapping) and part.get("type") not in ("text", None):
            _warn_of_part(str(part["type"]))
    return present


def _of_sharegpt(message: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a message with a role and a content that has its speaker in `from` and its words in `value`."""
    speaker = message.pop("from")
    if not isinstance(speaker, str) or speaker not in SPEAKERS:
        raise PromptError(
            f"message {number} is from {speaker!r:.80}, which is no speaker that has a role in chat "
            f"templates: they are {', '.join(SPEAKERS)}. Give the messages a `role` and a `content`."
        )
    return {"role": SPEAKERS[speaker], "content": message.pop("value"), **message}


@cache
def _warn_of_part(kind: str) -> None:
    """Warn once of each kind of part."""
    log.warning(
        "messages have parts of type %r: the model reads what the chat template writes for them, no more",
        kind,
    )


def _render(
    tokenizer: PreTrainedTokenizerBase,
    messages: list[dict[str, Any]],
    arguments: Mapping[str, Any] | None,
    add_generation_prompt: bool = False,
) -> str:
    """Render as the tokenizer's `apply_chat_template` does, but where a template cannot hold us up."""
    others = dict(arguments or {})
    template = tokenizer.get_chat_template(others.pop("chat_template", None), others.get("tools"))
    tokens = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    try:
        return render_template(
            template, messages, add_generation_prompt=add_generation_prompt, **tokens | others
        )
    except (
        TemplateError,
        TypeError,
    ) as error:  # the latter of values that no template is given, such as dates
        roles = ", ".join(message["role"] for message in messages)
        raise PromptError(
            f"the chat template refuses a conversation of {roles:.200} ({error}): change the messages to "
            "what it accepts."
        ) from error


def _marked(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message with the mark behind its last words."""
    # The space shows if the template trims what it writes: then the words end before their own spaces.
    mark, content = f"{END_OF_WORDS} ", message.get("content")
    if isinstance(content, str):
        return message | {"content": content + mark}
    parts = list(content or ())
    for index in reversed(range(len(parts))):
        part = parts[index]
        if isinstance(part, str):
            parts[index] = part + mark
        elif isinstance(part.get("text"), str):
            parts[index] = {**part, "text": part["text"] + mark}
        else:
            continue
        return message | {"content": parts}
    raise PromptError(f"the last message is {message!r:.80}: it has no text that the model could continue.")


def _before_mark(marked: str, whole: str) -> str:
    """Return a rendering up to the end of the assistant's words, or to where they would begin."""
    count = marked.count(END_OF_WORDS)
    if count != 1:
        how = "leaves out" if count == 0 else f"writes {count} times"
        raise PromptError(
            f"the chat template {how} the last message, so that there is no one point at which the assistant "
            "goes on: end the conversation with another role's message."
        )
    before, after = marked.split(END_OF_WORDS)
    text = before if after.startswith(" ") else before.rstrip()
    if not whole.startswith(text):
        raise PromptError(
            "the chat template writes the last message in another way when it goes on "
            f"({text[-40:]!r}): end the conversation with another role's message."
        )
    return text
