"""What a dictionary is worth, measured from its files on held-out text."""

from pipeline.training.report.card import card
from pipeline.training.report.class_features import ClassFeature, class_features
from pipeline.training.report.graph_metrics import GraphMetrics
from pipeline.training.report.layer_metrics import LayerMetrics, measure_layers
from pipeline.training.report.measure import (
    DictionaryMetrics,
    LayerFacts,
    TrainingFacts,
    measure_dictionary,
    measure_start,
)
from pipeline.training.report.model_metrics import ModelMetrics
from pipeline.training.report.replaced import ablated_mlps, replaced_mlps

__all__ = [
    "ClassFeature",
    "DictionaryMetrics",
    "GraphMetrics",
    "LayerFacts",
    "LayerMetrics",
    "ModelMetrics",
    "TrainingFacts",
    "ablated_mlps",
    "card",
    "class_features",
    "measure_dictionary",
    "measure_layers",
    "measure_start",
    "replaced_mlps",
]
