"""Conversations as text, by the chat template of an instruction-tuned model's tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.errors import ModelError, PromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Message = Mapping[str, str]
"""`role` (system, user, assistant, ...) and `content`."""


def check_chat_template(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Refuse a tokenizer that does not say how conversations are written.

    Raises:
        ModelError: naming the model and the way out.

    """
    if not tokenizer.chat_template:
        raise ModelError(
            f"the tokenizer of model {name!r} has no chat template: take the model's instruction-tuned "
            "version, or leave prompts.chat out and write the prompts as the model reads them."
        )


def render_chat(tokenizer: PreTrainedTokenizerBase, content: str | Sequence[Message]) -> str:
    """Return a conversation as the model reads it, up to where the assistant speaks next.

    A conversation that ends with the assistant's words goes on inside them.

    Args:
        tokenizer: brings the template.
        content: one user turn, or the messages.

    Raises:
        PromptError: a message is empty or malformed, or the template refuses the roles.

    """
    messages = [{"role": "user", "content": content}] if isinstance(content, str) else content
    messages = [_checked(message, number) for number, message in enumerate(messages)]
    if not messages:
        raise PromptError("the conversation has no messages: give at least one.")
    goes_on = messages[-1]["role"] == "assistant"
    try:
        return tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not goes_on, continue_final_message=goes_on
        )
    except Exception as error:  # a template is a program of its own and raises what it likes
        reason = str(error).strip().partition("\n")[0]
        roles = ", ".join(message["role"] for message in messages)
        raise PromptError(
            f"the chat template refuses a conversation of {roles} ({type(error).__name__}: {reason}): "
            "change its roles."
        ) from error


def _checked(message: Message, number: int) -> dict[str, str]:
    """Return a message's role and content."""
    # Other keys are dropped: a column of mixed rows fills them with null.
    parts = {key: message.get(key) for key in ("role", "content")} if isinstance(message, Mapping) else {}
    if not parts or not all(isinstance(part, str) and part.strip() for part in parts.values()):
        raise PromptError(
            f"message {number} is {message!r:.80}, but must have a `role` and a `content`, neither empty."
        )
    return parts
