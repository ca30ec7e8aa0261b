"""A Hugging Face causal language model as a frozen linear model; one small description per family."""

from pipeline.model.chat import check_chat_template, render_chat
from pipeline.model.families import FAMILIES, Family, family_of
from pipeline.model.frozen import FrozenLayer, FrozenModel
from pipeline.model.hooks import pull_back
from pipeline.model.linear import NormMap
from pipeline.model.loading import fixed_prefix, load_config
from pipeline.model.replacement_model import ReplacementModel, check_fit
from pipeline.model.tokens import load_tokenizer, tokenize_all

__all__ = [
    "FAMILIES",
    "Family",
    "FrozenLayer",
    "FrozenModel",
    "NormMap",
    "ReplacementModel",
    "check_chat_template",
    "check_fit",
    "family_of",
    "fixed_prefix",
    "load_config",
    "load_tokenizer",
    "pull_back",
    "render_chat",
    "tokenize_all",
]
