"""A Hugging Face causal language model as a frozen linear model; one small description per architecture."""

from pipeline.model.architectures import ARCHITECTURES, Architecture, Norm, architecture_of, optional_module
from pipeline.model.frozen import LAST, FrozenLayer, FrozenModel
from pipeline.model.hooks import hook_modules, pull_back, read_inputs
from pipeline.model.language_model import LanguageModel
from pipeline.model.linear import NormMap
from pipeline.model.loading import language_model, load_config, whole_config, without_weights
from pipeline.model.module_hooks import hooked_input, hooked_output, replaced_forward
from pipeline.model.neurons import NeuronLayer, neuron_transcoders
from pipeline.model.quantisation import EXPANSION, quantisation
from pipeline.model.queries_keys import LayerScores, QueriesKeys
from pipeline.model.reconstruction import explain_outputs
from pipeline.model.recording import Recording, Site, record
from pipeline.model.replacement_model import ReplacementModel, check_fit
from pipeline.model.tokenization import (
    Opening,
    TracedTokens,
    check_chat_template,
    fixed_prefix,
    load_tokenizer,
    opening_tokens,
    render_chat,
    special_ids,
    token_id,
    token_text,
    tokenize_all,
    tokenizers_own,
)
from pipeline.model.unnormed import NoNorm

__all__ = [
    "ARCHITECTURES",
    "EXPANSION",
    "LAST",
    "Architecture",
    "FrozenLayer",
    "FrozenModel",
    "LanguageModel",
    "LayerScores",
    "NeuronLayer",
    "NoNorm",
    "Norm",
    "NormMap",
    "Opening",
    "QueriesKeys",
    "Recording",
    "ReplacementModel",
    "Site",
    "TracedTokens",
    "architecture_of",
    "check_chat_template",
    "check_fit",
    "explain_outputs",
    "fixed_prefix",
    "hook_modules",
    "hooked_input",
    "hooked_output",
    "language_model",
    "load_config",
    "load_tokenizer",
    "neuron_transcoders",
    "opening_tokens",
    "optional_module",
    "pull_back",
    "quantisation",
    "read_inputs",
    "record",
    "render_chat",
    "replaced_forward",
    "special_ids",
    "token_id",
    "token_text",
    "tokenize_all",
    "tokenizers_own",
    "whole_config",
    "without_weights",
]
