"""Prompts to token ids, with or without a chat template, and token ids back to text."""

from pipeline.model.tokenization.chat import check_chat_template, render_chat
from pipeline.model.tokenization.opening import Opening, opening_tokens, special_ids, tokenizers_own
from pipeline.model.tokenization.tokens import (
    GEMMA3_CHAT_PREFIX,
    TracedTokens,
    ensure_tokenized,
    fixed_prefix,
    load_tokenizer,
    repository_of,
    tokenize_all,
)
from pipeline.model.tokenization.vocabulary import token_id, token_text

__all__ = [
    "GEMMA3_CHAT_PREFIX",
    "Opening",
    "TracedTokens",
    "check_chat_template",
    "ensure_tokenized",
    "fixed_prefix",
    "load_tokenizer",
    "opening_tokens",
    "render_chat",
    "repository_of",
    "special_ids",
    "token_id",
    "token_text",
    "tokenize_all",
    "tokenizers_own",
]
