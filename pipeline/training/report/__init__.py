"""What a dictionary is worth, measured from its files on held-out text."""

from pipeline.training.report.agreement import Agreement, LayerAgreement, load_against
from pipeline.training.report.card import card
from pipeline.training.report.class_features import ClassFeature, class_features
from pipeline.training.report.graph_metrics import GraphMetrics
from pipeline.training.report.layer_metrics import LayerMetrics, measure_layers
from pipeline.training.report.measure import (
    DictionaryMetrics,
    FinishMetrics,
    LayerFacts,
    TrainingFacts,
    measure_dictionary,
    measure_start,
)
from pipeline.training.report.model_metrics import ModelMetrics
from pipeline.training.report.replaced import ablated_mlps, replaced_mlps
from pipeline.training.report.table import training_table

__all__ = [
    "Agreement",
    "ClassFeature",
    "DictionaryMetrics",
    "FinishMetrics",
    "GraphMetrics",
    "LayerAgreement",
    "LayerFacts",
    "LayerMetrics",
    "ModelMetrics",
    "TrainingFacts",
    "ablated_mlps",
    "card",
    "class_features",
    "load_against",
    "measure_dictionary",
    "measure_layers",
    "measure_start",
    "replaced_mlps",
    "training_table",
]
