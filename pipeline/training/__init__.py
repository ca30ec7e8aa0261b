"""Dictionaries for a model: transcoders of single layers and across layers, and autoencoders.

The engine, without Ray. Text becomes tokens once (`prepare_tokens`); a `GroupTraining` takes the layers that
one process trains, step by step, and its `state` is all that is needed to go on elsewhere (to the same bits
on a CPU); `export_layers` folds it into the product's own files.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "config": ["DICTIONARY_FILE", "DictionaryConfig"],
        "data": ["TokenSet", "TrainingTokens", "prepare_tokens"],
        "export": ["export_layers", "join_shards"],
        "feature_shard": ["WHOLE", "FeatureShard"],
        "group_training": ["GroupTraining", "layers_of", "load_language_model"],
        "layer_group": ["LayerGroup"],
        "report": [
            "TrainingFacts",
            "card",
            "load_against",
            "measure_dictionary",
            "measure_layers",
            "measure_start",
            "replaced_mlps",
            "training_table",
        ],
        "template": ["template"],
        "training_state": ["TrainingState"],
        "train": ["train_dictionary", "write_report"],
        "warm_start": ["load_start"],
        "write": ["read_dictionary", "write_dictionary"],
    },
)
